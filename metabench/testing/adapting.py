"""The scorer of algorithms that adapt a network to each task: images in, through the harness's own learner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metabench.adapting import Adapting
from metabench.episodes import EpisodeBatch
from metabench.modules import Backbone
from metabench.specs import Recipe
from metabench.tasks import AdaptingLearner
from metabench.testing.scorer import Scorer
from metabench.testing.tasks import Episodes

WAYS = (2, 4, 5, 20)
"""Those of the checks: such an algorithm is built for one way."""


class SmallBody(Backbone):
    """A network that has what matters, a convolution and batch normalisation, and costs next to nothing."""

    def __init__(self, image_shape: tuple[int, int, int], channels: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.feature_dim = channels * (-(-image_shape[1] // 2)) * (-(-image_shape[2] // 2))

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        return torch.relu(self.norm(self.conv(images))).flatten(1)


class AdaptingScorer(Scorer):
    """An `Adapting` for every way, on made-up images of 6x6 pixels.

    One episode runs by itself and several run through ``vmap``, so that a batch and a loop are two computations.
    """

    given = 2
    item_shape = (1, 6, 6)
    trials = 300

    def __init__(self, target: type[Adapting], params: Mapping[str, Any], device: torch.device) -> None:
        self.algorithms = {way: target(SmallBody(self.item_shape), way, **params).to(device) for way in WAYS}
        self.module = nn.ModuleDict({str(way): algorithm for way, algorithm in self.algorithms.items()})
        self._learners: dict[tuple[int, str], AdaptingLearner] = {}

    def logits(self, episodes: Episodes) -> Tensor:
        """Adapt to every episode and score its queries."""
        return self._learner(episodes).scores(*_as_data(episodes))

    def learn(self, episodes: Episodes) -> None:
        """Take the gradient, or what the algorithm puts in its place."""
        self.module.train()
        images, batch = _as_data(episodes)
        self._learner(episodes).backward(images, batch, Recipe(way=episodes.way, shot=1, query=1, episodes=1), 0)

    def _learner(self, episodes: Episodes) -> AdaptingLearner:
        key = (episodes.way, "vmap" if len(episodes) > 1 else "loop")
        if key not in self._learners:
            self._learners[key] = AdaptingLearner(self.algorithms[episodes.way], formulation=key[1])
        return self._learners[key]


def _as_data(episodes: Episodes) -> tuple[Tensor, EpisodeBatch]:
    """Return the items as uint8 images (N, H, W, C), and the episodes as rows of them."""
    items = torch.cat([episodes.support, episodes.query], 1)
    images = (128 + 40 * items).round().clamp(0, 255).to(torch.uint8).flatten(0, 1).permute(0, 2, 3, 1)
    rows = np.arange(len(images)).reshape(items.shape[:2])
    n_support = episodes.support.shape[1]
    labels, truth = (part.cpu().numpy() for part in (episodes.labels, episodes.truth))
    batch = EpisodeBatch(rows[:, :n_support], labels, rows[:, n_support:], truth, episodes.way)
    return images, batch
