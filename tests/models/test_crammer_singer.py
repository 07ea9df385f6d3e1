"""Support vector machines against general solvers, one problem at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize
from sklearn.svm import LinearSVC
from torch import Tensor

from metabench.api import MetabenchError, crammer_singer
from metabench.models.solvers import crammer_singer as module

Array = NDArray[np.float64]
CASES = [(5, 1, 20), (3, 4, 2), (2, 5, 3), (5, 5, 40), (4, 3, 12)]
"""Ways, shots, features: independent items, and more of them than features."""


@pytest.fixture(params=["active sets", "active sets, iterated", "interior", "interior, iterated"])
def systems(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How problems and their linear systems are solved."""
    if "interior" in request.param:
        monkeypatch.setattr(module, "_ROUNDS", 0)
    if "iterated" in request.param:
        monkeypatch.setattr(module, "_FACTORISED", 0)
    return str(request.param)


def problems(way: int, shot: int, dim: int, batch: int = 3, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Support (B, S, D) of overlapping classes and its labels, in a random order, in float64."""
    generator = torch.Generator().manual_seed(way + dim)
    labels = torch.stack([torch.randperm(way * shot, generator=generator) % way for _ in range(batch)])
    centres = torch.randn(batch, way, dim, generator=generator)
    support = centres.gather(1, labels[..., None].expand(-1, -1, dim))
    return (support + spread * torch.randn(support.shape, generator=generator)).double() + 0.5, labels


def fitted(support: Tensor, labels: Tensor, way: int, c: float) -> Tensor:
    """Weights (B, D, W)."""
    return support.mT @ crammer_singer(support @ support.mT, labels, way, c)


def primal(weights: Array, x: Array, y: NDArray[np.int64], c: float) -> float:
    scores = x @ weights
    margins = scores + 1 - np.eye(weights.shape[1])[y] - scores[np.arange(len(y)), y][:, None]
    return float(0.5 * (weights**2).sum() + c * margins.max(1).sum())


def dual(x: Array, y: NDArray[np.int64], way: int, c: float) -> Array:
    """The coefficients (S, W), by a general solver of quadratic programmes."""
    gram, truth = x @ x.T, np.eye(way)[y]
    rows = np.kron(np.eye(len(x)), np.ones((1, way)))
    solution = minimize(
        lambda a: 0.5 * np.vdot(a.reshape(truth.shape), gram @ a.reshape(truth.shape)) - np.vdot(a, truth.ravel()),
        np.zeros(truth.size),
        jac=lambda a: (gram @ a.reshape(truth.shape) - truth).ravel(),
        method="SLSQP",
        bounds=[(None, c * value) for value in truth.ravel()],
        constraints=[LinearConstraint(rows, 0, 0)],
        options={"maxiter": 500, "ftol": 1e-11},
    )
    assert solution.success
    return np.asarray(solution.x).reshape(truth.shape)


@pytest.mark.parametrize("c", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("way", "shot", "dim"), CASES)
def test_weights_are_those_of_liblinear(way: int, shot: int, dim: int, c: float, systems: str) -> None:
    support, labels = problems(way, shot, dim)
    weights = fitted(support, labels, way, c)
    for b in range(3):
        x, y = support[b].numpy(), labels[b].numpy()
        model = LinearSVC(
            multi_class="crammer_singer", C=c, fit_intercept=False, tol=1e-9, max_iter=1_000_000, random_state=0
        ).fit(x, y)
        # Of two classes only the difference is kept.
        expected = model.coef_.T if way > 2 else np.c_[-model.coef_[0], model.coef_[0]] / 2
        np.testing.assert_allclose(x @ weights[b].numpy(), x @ expected, rtol=1e-4, atol=1e-5)
        assert primal(weights[b].numpy(), x, y, c) <= primal(expected, x, y, c) + 1e-7


@pytest.mark.parametrize(("way", "shot", "dim"), [(5, 1, 20), (3, 4, 2), (3, 3, 12)])
def test_weights_are_those_of_a_general_solver(way: int, shot: int, dim: int, systems: str) -> None:
    support, labels = problems(way, shot, dim)
    weights = fitted(support, labels, way, 0.1)
    for b in range(3):
        x = support[b].numpy()
        expected = x.T @ dual(x, labels[b].numpy(), way, 0.1)
        np.testing.assert_allclose(x @ weights[b].numpy(), x @ expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("way", "shot", "dim", "c"),
    [*((*case, c) for case in CASES for c in (1e-3, 0.1, 100.0)), (20, 5, 64, 0.1), (20, 5, 640, 0.1)],
)
def test_the_conditions_of_the_optimum_hold(way: int, shot: int, dim: int, c: float) -> None:
    """Primal and dual objective meet; constraints hold."""
    support, labels = problems(way, shot, dim, batch=2)
    coefficients = crammer_singer(support @ support.mT, labels, way, c)
    truth = torch.nn.functional.one_hot(labels, way).double()
    assert float((coefficients - c * truth).max()) <= 1e-9 * c
    torch.testing.assert_close(coefficients.sum(-1), torch.zeros_like(labels).double())
    for b in range(2):
        x, y, a = support[b].numpy(), labels[b].numpy(), coefficients[b].numpy()
        attained = a[np.arange(len(y)), y].sum() - 0.5 * ((x.T @ a) ** 2).sum()
        best = primal(x.T @ a, x, y, c)
        assert best - attained < 1e-7 * (1 + best)


@pytest.mark.parametrize(("way", "shot", "dim"), [(3, 2, 7), (2, 4, 3), (3, 3, 4)])
def test_the_gradient_is_that_of_the_optimum(way: int, shot: int, dim: int, systems: str) -> None:
    support, labels = problems(way, shot, dim, batch=1)
    query = torch.randn(1, 4, dim, generator=torch.Generator().manual_seed(0)).double()
    support.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: query @ fitted(x, labels, way, 0.3), support)


def test_single_precision_gives_the_same_and_its_own_type() -> None:
    support, labels = problems(5, 5, 64)
    narrow = support.float().requires_grad_()
    coefficients = crammer_singer(narrow @ narrow.mT, labels, 5, 0.1)
    assert coefficients.dtype == torch.float32
    scores = narrow @ (narrow.mT @ coefficients)
    exact = support @ fitted(support, labels, 5, 0.1)
    torch.testing.assert_close(scores.double(), exact, rtol=1e-3, atol=1e-4)
    scores.square().sum().backward()
    assert narrow.grad is not None and narrow.grad.isfinite().all() and narrow.grad.abs().max() > 0


def test_a_problem_does_not_depend_on_those_beside_it() -> None:
    """One that takes many steps beside easy ones."""
    easy, hard = problems(3, 5, 40), problems(3, 5, 40, spread=30.0)
    support, labels = (torch.cat(parts) for parts in zip(easy, hard, strict=True))
    together = support @ fitted(support, labels, 3, 0.1)
    alone = [support[i : i + 1] @ fitted(support[i : i + 1], labels[i : i + 1], 3, 0.1) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-6, atol=1e-6)


def test_items_that_are_alike_have_one_score(systems: str) -> None:
    support, labels = problems(3, 4, 8)
    support[:, 6:] = support[:, :6]  # some have another label than their copies
    support.requires_grad_()
    scores = support @ fitted(support, labels, 3, 0.1)
    torch.testing.assert_close(scores[:, 6:], scores[:, :6])
    scores.square().sum().backward()
    assert support.grad is not None and support.grad.isfinite().all()


def test_items_of_zeros_do_no_harm(systems: str) -> None:
    """As where rectifiers are dead: the others are fitted as if it were not there."""
    support, labels = problems(3, 4, 8, batch=2)
    support[0, 5] = 0
    support[1] = 0
    support.requires_grad_()
    weights = fitted(support, labels, 3, 0.1)
    rest = [n for n in range(12) if n != 5]
    torch.testing.assert_close(weights[:1], fitted(support[:1, rest], labels[:1, rest], 3, 0.1), rtol=1e-4, atol=1e-6)
    slopes = torch.autograd.grad((support @ weights)[:, rest].square().sum(), support)[0]
    alone = torch.autograd.grad(
        (support[:1, rest] @ fitted(support[:1, rest], labels[:1, rest], 3, 0.1)).square().sum(), support
    )[0]
    torch.testing.assert_close(slopes[0, rest], alone[0, rest], rtol=1e-4, atol=1e-5)
    assert slopes.isfinite().all()


def test_features_far_from_the_origin_keep_their_digits(systems: str) -> None:
    """Inner products of 1e6 with differences of 1e2; by weak duality no weights are better than a dual value."""
    support, labels = problems(5, 5, 30)
    support = 10 * support + 200
    gram = support @ support.mT
    coefficients = crammer_singer(gram, labels, 5, 0.1)
    for b in range(3):
        x, y, a = support[b].numpy(), labels[b].numpy(), coefficients[b].numpy()
        truth = np.eye(5)[y]
        assert (a <= 0.1 * truth + 1e-12).all()
        np.testing.assert_allclose(a.sum(1), 0, atol=1e-12)
        bound = np.vdot(a, truth) - 0.5 * np.vdot(a, gram[b].numpy() @ a)
        assert 0 < bound <= primal(x.T @ a, x, y, 0.1) <= bound * (1 + 1e-6)


def test_support_without_any_difference_ties_all_classes() -> None:
    support, labels = torch.ones(2, 6, 9).double(), torch.tensor([[0, 0, 1, 1, 2, 2]] * 2)
    weights = fitted(support, labels, 3, 0.1)
    torch.testing.assert_close(weights, torch.zeros_like(weights), rtol=0, atol=1e-5)
    assert fitted(0 * support, labels, 3, 0.1).abs().max() == 0


def test_what_is_not_solved_is_not_passed_off_as_a_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 0)
    monkeypatch.setattr(module, "_STEPS", 2)
    support, labels = problems(5, 5, 40)
    with pytest.raises(MetabenchError, match=r"the optimum was not reached in 2 steps\. Lower C"):
        fitted(support, labels, 5, 0.1)


def test_an_optimum_beyond_the_digits_of_float64_is_not_passed_off_as_one() -> None:
    support, labels = problems(5, 5, 40)
    fitted(1e3 * support, labels, 5, 0.1)
    with pytest.raises(MetabenchError, match=r"float64 does not tell the optimum\. Divide the features"):
        fitted(1e6 * support, labels, 5, 0.1)
