"""Transfer methods: their classifiers against other computations, and their chains of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode
from metabench_algorithms.transfer import _fine_tuning
from metabench_algorithms.transfer.baseline import Baseline, BaselinePlusPlus
from metabench_algorithms.transfer.linear_probe import LinearProbe
from metabench_algorithms.transfer.meta_baseline import MetaBaseline
from metabench_algorithms.transfer.rfs import Rfs
from metabench_algorithms.transfer.simpleshot import SimpleShot

WAY, SHOT, DIM = 5, 3, 16


@pytest.fixture
def episode() -> Episode:
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(2, WAY, DIM, generator=generator)
    labels = torch.stack([torch.arange(WAY).repeat(SHOT), torch.arange(WAY).repeat_interleave(SHOT)])
    truth = torch.arange(WAY).repeat(4).expand(2, -1)

    def drawn(classes: Tensor) -> Tensor:
        means = torch.stack([centres[b, classes[b]] for b in range(2)])
        return (means + 0.8 * torch.randn(means.shape, generator=generator)).relu()

    return Episode(drawn(labels), labels, drawn(truth), WAY)


def torch_fit(model: nn.Module, features: Tensor, labels: Tensor) -> None:
    """The loop of the authors' finetune.py, in the batches of the tested code."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
    generator = torch.Generator().manual_seed(0)
    torch.rand((WAY, DIM), generator=generator)
    torch.rand((WAY,), generator=generator)
    for rows in _fine_tuning._batches(len(labels), generator):
        optimizer.zero_grad()
        F.cross_entropy(model(features[rows]), labels[rows]).backward()
        optimizer.step()


class Cosines(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, features: Tensor) -> Tensor:
        return 2.0 * F.normalize(features, dim=-1) @ F.normalize(self.weight, dim=-1).T


def first_weights() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple((2 * torch.rand(shape, generator=generator) - 1) * DIM**-0.5 for shape in ((WAY, DIM), (WAY,)))


def test_baseline_is_the_loop_of_the_authors_by_autograd(episode: Episode) -> None:
    scores = Baseline(DIM).logits(episode)
    for index in range(2):
        model = nn.Linear(DIM, WAY)
        with torch.no_grad():
            for parameter, first in zip(model.parameters(), first_weights(), strict=True):
                parameter.copy_(first)
        torch_fit(model, episode.support[index], episode.labels[index])
        torch.testing.assert_close(scores[index], model(episode.query[index]), atol=1e-4, rtol=1e-4)


def test_baseline_plus_plus_is_the_same_with_cosines(episode: Episode) -> None:
    scores = BaselinePlusPlus(DIM).logits(episode)
    for index in range(2):
        model = Cosines(first_weights()[0])
        torch_fit(model, episode.support[index], episode.labels[index])
        torch.testing.assert_close(scores[index], model(episode.query[index]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("transform", ["un", "l2n", "cl2n"])
def test_simpleshot_is_the_nearest_mean_of_transformed_features(episode: Episode, transform: str) -> None:
    head = SimpleShot(DIM, transform)
    base = torch.randn(30, DIM, generator=torch.Generator().manual_seed(2)) + 3
    head.study(base, torch.arange(30) % 6)
    mean = base.numpy().astype(np.float64).mean(0) if transform == "cl2n" else 0.0

    def changed(features: Tensor) -> np.ndarray:
        values = features.numpy().astype(np.float64) - mean
        return values if transform == "un" else values / np.linalg.norm(values, axis=-1, keepdims=True)

    scores = head.logits(episode)
    for b in range(2):
        support, query, labels = changed(episode.support[b]), changed(episode.query[b]), episode.labels[b].numpy()
        means = np.stack([support[labels == k].mean(0) for k in range(WAY)])
        expected = -((query[:, None] - means) ** 2).sum(-1)
        np.testing.assert_allclose(scores[b].numpy(), expected, atol=1e-4, rtol=1e-4)


def test_meta_baseline_is_the_cosine_to_the_mean(episode: Episode) -> None:
    scores = MetaBaseline(DIM).logits(episode)
    for b in range(2):
        for q in range(episode.query.shape[1]):
            for k in range(WAY):
                mean = episode.support[b][episode.labels[b] == k].mean(0)
                expected = 10 * F.cosine_similarity(mean, episode.query[b, q], dim=0)
                torch.testing.assert_close(scores[b, q, k], expected, atol=1e-4, rtol=1e-4)


def test_rfs_is_logistic_regression_and_with_views_on_the_copies(episode: Episode) -> None:
    generator = torch.Generator().manual_seed(5)
    shape = (*episode.support.shape[:2], 5, DIM)
    views = episode.support[:, :, None] + 0.1 * torch.randn(shape, generator=generator)
    shown = replace(episode, views=views)
    assert torch.equal(Rfs(DIM).logits(shown), LinearProbe(DIM).logits(episode))
    scores = Rfs(DIM, views=True).logits(shown)
    for b in range(2):
        labels = episode.labels[b].repeat_interleave(5)
        plain = Episode(views[b].reshape(1, -1, DIM), labels[None], episode.query[b : b + 1], WAY)
        torch.testing.assert_close(scores[b], LinearProbe(DIM).logits(plain)[0], atol=1e-4, rtol=1e-4)
