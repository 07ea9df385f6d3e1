"""The scorers of algorithms that adapt a network to each task: items in, through the harness's own learner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from metabench.episodes.batch import EpisodeBatch
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.interfaces import Backbone, decode_numbers
from metabench.registry.specs import AlgorithmSpec
from metabench.registry.stage import Stage
from metabench.testing.support.scorer import WAYS, Scorer
from metabench.testing.support.synthetic_episodes import Episodes, functions

IMAGE = (1, 6, 6)


class SmallBody(Backbone):
    """Small network with a convolution and batch normalisation."""

    def __init__(self, image_shape: tuple[int, int, int], channels: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.feature_dim = channels * (-(-image_shape[1] // 2)) * (-(-image_shape[2] // 2))

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        return torch.relu(self.norm(self.conv(images))).flatten(1)


class AdaptingScorer(Scorer):
    """An `TaskAdaptiveAlgorithm` for every way, on made-up images of 6x6 pixels.

    One episode runs by itself and several run through ``vmap``, so that a batch and a loop are two computations.
    """

    given = 2
    item_shape: tuple[int, ...] = IMAGE
    trials = 300

    ways: ClassVar[tuple[int, ...]] = WAYS

    def __init__(
        self, spec: AlgorithmSpec, target: type[TaskAdaptiveAlgorithm], params: Mapping[str, Any], device: torch.device
    ) -> None:
        self.algorithms = {way: target(self.body(), way, **params).to(device) for way in self.ways}
        self.module = nn.ModuleDict({str(way): algorithm for way, algorithm in self.algorithms.items()})
        self._learners: dict[tuple[int, str], AdaptiveLearner] = {}

    def logits(self, episodes: Episodes) -> Tensor:
        """Adapt to every episode and score its queries."""
        return self._learner(episodes).scores(*self.as_data(episodes))

    def learn(self, episodes: Episodes) -> Tensor:
        """Take the gradient, or what the algorithm puts in its place."""
        self.module.train()
        images, batch = self.as_data(episodes)
        return self._learner(episodes).backward(images, batch, Stage(way=episodes.way, shot=1, query=1, episodes=1), 0)

    def body(self) -> Backbone:
        """Return a network for it."""
        return SmallBody(IMAGE)

    def as_data(self, episodes: Episodes) -> tuple[Tensor, EpisodeBatch]:
        """Return the items as uint8 images (N, H, W, C), and the episodes as rows of them."""
        items = torch.cat([episodes.support, episodes.query], 1)
        images = (128 + 40 * items).round().clamp(0, 255).to(torch.uint8).flatten(0, 1).permute(0, 2, 3, 1)
        return images, _rows(episodes, episodes.labels, episodes.truth)

    def _learner(self, episodes: Episodes) -> AdaptiveLearner:
        key = (episodes.way, "vmap" if len(episodes) > 1 else "loop")
        if key not in self._learners:
            self._learners[key] = AdaptiveLearner(self.algorithms[episodes.way], formulation=key[1])
        return self._learners[key]


class SmallNet(Backbone):
    """The same for numbers: it reads one and is to predict another."""

    outputs = 1

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.dense, self.norm, self.feature_dim = nn.Linear(1, width), nn.BatchNorm1d(width), width

    def inputs(self, items: Tensor) -> Tensor:
        """Return x (N, 1) of items (N, 8), see `metabench.models.interfaces.decode_numbers`."""
        return decode_numbers(items)[:, :1]

    def targets(self, items: Tensor) -> Tensor:
        """Return y (N, 1)."""
        return decode_numbers(items)[:, 1:]

    def forward(self, values: Tensor) -> Tensor:
        """Map (N, 1) to (N, width)."""
        return torch.relu(self.norm(self.dense(values)))


class NumbersScorer(AdaptingScorer):
    """An `TaskAdaptiveAlgorithm` that predicts numbers, on made-up functions."""

    item_shape = (1,)
    ways = (1,)

    def episodes(self, **options: Any) -> Episodes:
        """Make up episodes of as many points as `tasks.gaussians` would have items; there are no classes to order."""
        way, shots = options.pop("way", 5), options.pop("shots", 5)
        options.pop("in_order", None)
        return functions(points=way * shots if isinstance(shots, int) else sum(shots), **options)

    def body(self) -> Backbone:
        """Return a network for it."""
        return SmallNet()

    def as_data(self, episodes: Episodes) -> tuple[Tensor, EpisodeBatch]:
        """Return the points as bytes (N, 8), x cut to [-3, 3] as images are, and the episodes as rows of them."""
        x = torch.cat([episodes.support, episodes.query], 1).clamp(-3, 3)
        points = torch.cat([x, torch.cat([episodes.labels, episodes.truth], 1)], -1).flatten(0, 1)
        none = torch.zeros(episodes.support.shape[:2], dtype=torch.int64)
        return points.contiguous().view(torch.uint8), _rows(episodes, none, none.new_zeros(episodes.query.shape[:2]))


def _rows(episodes: Episodes, labels: Tensor, truth: Tensor) -> EpisodeBatch:
    """Return episodes as rows of their items, which lie one episode after the other, each support first."""
    n_support, n_query = episodes.support.shape[1], episodes.query.shape[1]
    rows = np.arange(len(episodes) * (n_support + n_query)).reshape(len(episodes), -1)
    given, wanted = (part.cpu().numpy() for part in (labels, truth))
    return EpisodeBatch(rows[:, :n_support], given, rows[:, n_support:], wanted, episodes.way)
