"""Logistic regression per episode, against the same objective minimised by SciPy one episode at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from torch import Tensor

from metabench.errors import MetabenchError, UsageError
from metabench.models.episode import Episode
from metabench.models.solvers import logistic_regression
from metabench_algorithms.metric.protonet import ProtoNet, UnitMean
from metabench_algorithms.transfer.linear_probe import LinearProbe

Array = NDArray[np.float64]


def episodes(way: int, shots: list[int], dim: int, batch: int = 3, spread: float = 1.0) -> tuple[Tensor, ...]:
    """Support (B, S, D) with `shots` of each class in a random order, labels, queries (B, 20, D); not centred."""
    generator = torch.Generator().manual_seed(dim + way)
    labels = torch.arange(way).repeat_interleave(torch.tensor(shots))
    labels = torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(batch)])
    centres = torch.randn(batch, way, dim, generator=generator)
    support = centres.gather(1, labels[..., None].expand(-1, -1, dim))
    support = support + spread * torch.randn(support.shape, generator=generator) + 2
    return support, labels, torch.randn(batch, 20, dim, generator=generator) + 2


def reference(support: Array, labels: NDArray[np.int64], query: Array, way: int, c: float) -> Array:
    """The scores (Q, way) of one episode; scikit-learn's objective, its gradient written down anew."""
    data = np.c_[support, np.ones(len(support))]
    truth = np.eye(way)[labels]

    def objective(flat: Array) -> tuple[float, Array]:
        theta = flat.reshape(-1, way)
        scores, kept = data @ theta, theta * np.r_[np.ones(len(theta) - 1), 0][:, None]
        value = (logsumexp(scores, axis=1) - (scores * truth).sum(1)).sum() + (kept**2).sum() / (2 * c)
        return float(value), (data.T @ (softmax(scores, axis=1) - truth) + kept / c).ravel()

    options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-9, "ftol": 0.0, "maxcor": 30}
    found = minimize(objective, np.zeros(data.shape[1] * way), jac=True, method="L-BFGS-B", options=options)
    theta: Array = found.x.reshape(-1, way)
    return np.c_[query, np.ones(len(query))] @ theta


def relative(scores: Tensor | Array) -> Tensor:
    """Scores up to a constant of each query."""
    found = torch.as_tensor(scores).double()
    return found - found.mean(-1, keepdim=True)


@pytest.mark.parametrize("c", [0.01, 1.0, 1000.0])
@pytest.mark.parametrize(
    ("way", "shots", "dim"), [(5, [1] * 5, 40), (3, [2, 7, 1], 30), (2, [30, 10], 6), (4, [3] * 4, 12), (2, [1, 1], 1)]
)
def test_scores_are_those_of_the_optimum(way: int, shots: list[int], dim: int, c: float) -> None:
    support, labels, query = episodes(way, shots, dim)
    scores = LinearProbe(dim, c=c, normalise=False).logits(Episode(support, labels, query, way))
    assert scores.shape == (3, 20, way) and scores.dtype == torch.float32
    for b in range(3):
        expected = reference(support[b].double().numpy(), labels[b].numpy(), query[b].double().numpy(), way, c)
        torch.testing.assert_close(relative(scores[b]), relative(expected), rtol=1e-4, atol=1e-4)


def test_normalised_features_have_length_one() -> None:
    support, labels, query = episodes(3, [4, 4, 4], 20)
    scores = LinearProbe(20).logits(Episode(support, labels, query, 3))
    unit = [part / part.norm(dim=-1, keepdim=True) for part in (support, query)]
    for b in range(3):
        expected = reference(unit[0][b].double().numpy(), labels[b].numpy(), unit[1][b].double().numpy(), 3, 1.0)
        torch.testing.assert_close(relative(scores[b]), relative(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(LinearProbe(20).logits(Episode(9 * support, labels, query / 7, 3)), scores)


@pytest.mark.parametrize(("way", "shots", "dim"), [(4, [2, 1, 3, 1], 50), (3, [9, 8, 7], 5)])
def test_the_gradient_at_the_solution_is_zero(way: int, shots: list[int], dim: int) -> None:
    """By automatic differentiation of the objective in the features' own coordinates."""
    support, labels, _ = episodes(way, shots, dim)
    support = support.double()
    weights, intercept = (
        part.requires_grad_() for part in logistic_regression.logistic_regression(support, labels, way, 2.0)
    )
    losses = torch.nn.functional.cross_entropy((support @ weights + intercept).mT, labels, reduction="sum")
    gradients = torch.autograd.grad(losses + weights.square().sum() / 4, (weights, intercept))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-6
    assert float(weights.detach().abs().max()) > 0.05


def test_an_episode_does_not_depend_on_those_beside_it() -> None:
    """One that takes many steps beside easy ones, which must stay where they are."""
    easy, hard = episodes(3, [5, 5, 5], 40), episodes(3, [5, 5, 5], 40, spread=30.0)
    support, labels, query = (torch.cat(parts) for parts in zip(easy, hard, strict=True))
    head = LinearProbe(40, c=100.0, normalise=False)
    together = head.logits(Episode(support, labels, query, 3))
    alone = [head.logits(Episode(support[i : i + 1], labels[i : i + 1], query[i : i + 1], 3)) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_separable_classes_without_much_penalty_still_have_an_optimum() -> None:
    support, labels, query = episodes(5, [5] * 5, 64, spread=0.1)
    scores = LinearProbe(64, c=1e8, normalise=False).logits(Episode(support, labels, query, 5))
    assert scores.isfinite().all()
    fitted = LinearProbe(64, c=1e8, normalise=False).logits(Episode(support, labels, support, 5))
    assert torch.equal(fitted.argmax(-1), labels)


def test_support_without_any_difference_ties_all_classes() -> None:
    support, query = torch.ones(2, 6, 9), torch.rand(2, 4, 9)
    scores = LinearProbe(9).logits(Episode(support, torch.tensor([[0, 0, 1, 1, 2, 2]] * 2), query, 3))
    assert (scores == scores[..., :1]).all()


def test_features_of_zero_do_no_harm() -> None:
    support, labels, query = episodes(3, [2, 2, 2], 8)
    support[0, 0], query[0, 0] = 0, 0
    assert LinearProbe(8).logits(Episode(support, labels, query, 3)).isfinite().all()


def test_what_does_not_converge_is_not_passed_off_as_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic_regression, "_NEWTON", 2)
    with pytest.raises(MetabenchError, match=r"the optimum was not reached in 2 steps\. Lower C"):
        LinearProbe(40, normalise=False).logits(Episode(*episodes(5, [2] * 5, 40), 5))


@pytest.mark.parametrize("c", [0.0, -1.0])
def test_c_must_be_positive(c: float) -> None:
    with pytest.raises(UsageError, match=r"algo\.c must be above 0"):
        LinearProbe(4, c=c)


def test_unit_mean_is_nearest_mean_of_unit_features() -> None:
    support, labels, query = episodes(3, [2, 5, 1], 8)
    unit = [part / part.norm(dim=-1, keepdim=True) for part in (support, query)]
    expected = ProtoNet(8).logits(Episode(unit[0], labels, unit[1], 3))
    torch.testing.assert_close(UnitMean(8).logits(Episode(support, labels, query, 3)), expected)
