"""Supervised classification of the training classes, which many methods start from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.models.interfaces import Backbone
from metabench.registry.stage import Stage


class CosineClassifier(nn.Module):
    """Scores that are the scaled cosines of feature and class weights (Chen et al. 2019, section 3.2)."""

    def __init__(self, feature_dim: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, feature_dim))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D) to scores (N, classes)."""
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))


class ClassModel(nn.Module):
    """A backbone and a classifier of the training classes, which no evaluation sees.

    Args:
        backbone: trained.
        classes: number of training classes.
        stage: says which classifier.
        seed: of its initial weights.
    """

    backbone: Backbone
    classifier: nn.Module

    def __init__(self, backbone: Backbone, classes: int, stage: Stage, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if stage.classifier == "cosine":
                self.classifier = CosineClassifier(backbone.feature_dim, classes, stage.classifier_scale)
            else:
                self.classifier = nn.Linear(backbone.feature_dim, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs of the backbone (N, ...) to scores (N, classes)."""
        scores: Tensor = self.classifier(self.backbone(inputs).float())
        return scores
