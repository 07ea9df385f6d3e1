"""A small adaptive learner to probe."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench.models.interfaces import Backbone
from metabench.registry.stage import Stage
from metabench_algorithms.gradient.maml import Maml

RECIPE = Stage(way=3, shot=1, query=2, episodes=8)


class Net(Backbone):
    """A small network with an odd layer in the middle."""

    def __init__(self, image_shape: tuple[int, int, int], layer: type[nn.Module] = nn.Identity, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(image_shape[0], width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.odd = layer()
        self.feature_dim = width

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.odd(torch.relu(self.norm(self.first(images)))).mean((2, 3))
        return features


def learner(layer: type[nn.Module] = nn.Identity, **params: object) -> AdaptiveLearner:
    model = build_model(Net, {"layer": layer}, Maml, params, (1, 8, 8), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    return AdaptiveLearner(model)


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)
