"""R2-D2 and MetaOptNet against independent fits to the same features."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torch import Tensor

from metabench.api import Episode, FeatureHead, UsageError
from metabench.registry.stage_checks import check_chain
from metabench_algorithms.closed_form._specs import SPECS
from metabench_algorithms.closed_form.metaoptnet_ridge import MetaOptNetRidge
from metabench_algorithms.closed_form.metaoptnet_svm import MetaOptNetSVM
from metabench_algorithms.closed_form.r2d2 import R2D2

Array = NDArray[np.float64]
HEADS = (R2D2, MetaOptNetRidge, MetaOptNetSVM)
SHAPES = [(5, [1] * 5, 640), (5, [5] * 5, 64), (3, [2, 7, 1], 5)]
"""Ways, shots of each class, features; the last has more items than features."""


def episodes(way: int, shots: list[int], dim: int) -> Episode:
    """Three episodes of rectified features, classes in a random order."""
    generator = torch.Generator().manual_seed(dim)
    labels = torch.arange(way).repeat_interleave(torch.tensor(shots))
    labels = torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(3)])
    centres = torch.randn(3, way, dim, generator=generator)
    support = centres.gather(1, labels[..., None].expand(-1, -1, dim))
    support = (support + torch.randn(support.shape, generator=generator)).relu()
    return Episode(support, labels, torch.randn(3, 20, dim, generator=generator).relu(), way)


def arrays(episode: Episode, b: int) -> tuple[Array, NDArray[np.int64], Array]:
    return episode.support[b].double().numpy(), episode.labels[b].numpy(), episode.query[b].double().numpy()


@pytest.mark.parametrize("penalty", [1.0, 50.0])
@pytest.mark.parametrize("kind", [R2D2, MetaOptNetRidge])
@pytest.mark.parametrize(("way", "shots", "dim"), SHAPES)
def test_ridge_scores_are_those_of_scikit_learn(
    kind: type[R2D2 | MetaOptNetRidge], way: int, shots: list[int], dim: int, penalty: float
) -> None:
    episode = episodes(way, shots, dim)
    scores = kind(dim, penalty=penalty, scale=3.0).logits(episode)
    assert scores.shape == (3, 20, way)
    for b in range(3):
        x, y, query = arrays(episode, b)
        expected = 3 * Ridge(alpha=penalty, fit_intercept=False).fit(x, np.eye(way)[y]).predict(query)
        np.testing.assert_allclose(scores[b].detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("diagonal", [0.0, 1.0])
@pytest.mark.parametrize(("way", "shots", "dim"), SHAPES)
def test_scores_of_the_machine_are_those_of_liblinear(way: int, shots: list[int], dim: int, diagonal: float) -> None:
    """A diagonal is one feature more for each item of support, of which queries have nothing."""
    episode = episodes(way, shots, dim)
    scores = MetaOptNetSVM(dim, diagonal=diagonal, scale=3.0).logits(episode)
    for b in range(3):
        x, y, query = arrays(episode, b)
        own = math.sqrt(diagonal) * np.eye(len(x))
        machine = LinearSVC(
            multi_class="crammer_singer", C=0.1, fit_intercept=False, tol=1e-9, max_iter=1_000_000, random_state=0
        ).fit(np.c_[x, own], y)
        expected = 3 * query @ machine.coef_[:, :dim].T
        np.testing.assert_allclose(scores[b].detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_equal_features_far_from_the_origin_score_nothing() -> None:
    """Their coefficients have the sum 0, so that all that float32 leaves of their weights is its error."""
    plain = episodes(4, [5] * 4, 64)
    same = 10 + plain.support[:, :1].expand_as(plain.support)
    equal = replace(plain, support=same, query=10 + plain.query)
    assert MetaOptNetSVM(64).logits(equal).abs().max() < 1e-8


@pytest.mark.parametrize("kind", HEADS)
def test_it_learns_through_the_fit(kind: type[FeatureHead]) -> None:
    """Gradients reach support, queries and every weight; two features told apart by the labels do better."""
    episode = episodes(5, [2] * 5, 16)
    head = kind(16)
    support, query = episode.support.requires_grad_(), episode.query.requires_grad_()
    head.loss(episode, torch.arange(20).remainder(5).expand(3, -1)).backward()
    for gradient in (support.grad, query.grad, *(weight.grad for weight in head.parameters())):
        assert gradient is not None and gradient.isfinite().all() and (gradient != 0).any()


@pytest.mark.parametrize("kind", HEADS)
def test_the_gradient_is_that_of_the_scores(kind: type[FeatureHead]) -> None:
    head = kind(6).double()
    episode = episodes(3, [2] * 3, 6)
    support, query = episode.support[:1].double() + 0.1, episode.query[:1, :2].double()

    def scores(support: Tensor, query: Tensor) -> Tensor:
        return head.logits(Episode(support, episode.labels[:1], query, 3))

    assert torch.autograd.gradcheck(scores, (support.requires_grad_(), query.requires_grad_()))


def test_the_learned_penalty_is_a_logarithm() -> None:
    head = R2D2(6, penalty=2.0)
    assert {name for name, _ in head.named_parameters()} == {"log_penalty", "scale"}
    assert math.isclose(float(head.log_penalty.detach().exp()), 2.0, rel_tol=1e-6)
    assert [name for name, _ in MetaOptNetRidge(6).named_parameters()] == ["scale"]


def test_both_ridges_start_from_the_same_classifier() -> None:
    episode = episodes(3, [4] * 3, 12)
    r2d2, metaoptnet = R2D2(12, scale=2.0), MetaOptNetRidge(12)
    torch.testing.assert_close(r2d2.logits(episode), metaoptnet.logits(episode))


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (R2D2, {"penalty": 0.0}, r"algo\.penalty must be above 0, not 0\.0"),
        (MetaOptNetRidge, {"penalty": -1.0}, r"algo\.penalty must be above 0, not -1\.0"),
        (MetaOptNetSVM, {"c": 0.0}, r"algo\.c must be above 0"),
        (MetaOptNetSVM, {"diagonal": -1.0}, r"algo\.diagonal at least 0"),
    ],
)
def test_bad_parameters_are_one_line(kind: type[FeatureHead], params: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(6, **params)


def test_recipes_are_valid_and_say_where_they_are_from() -> None:
    for spec in SPECS:
        for name in spec.recipes:
            chain = spec.recipe(name, 5, 1)
            check_chain(chain)
            assert all(stage.source for stage in chain) and set(chain[-1].params) <= {
                param.name for param in spec.params
            }
