"""Supervised classification of the training classes, which many methods start from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.models.assembly import Model
from metabench.models.interfaces import Backbone, FeatureHead
from metabench.models.prototypes import distances_to_means
from metabench.registry.stage import Stage


class NearestUnitMean(FeatureHead):
    """The nearest class mean of features of length 1, which validates a stage of classes whatever follows it."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()

    def logits(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Return the negative squared distances (B, Q, way)."""
        return -distances_to_means(F.normalize(query, dim=-1), F.normalize(support, dim=-1), labels, way)


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

    def __init__(self, backbone: Backbone, classes: int, stage: Stage, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classifier: nn.Module
            if stage.classifier == "cosine":
                self.classifier = CosineClassifier(backbone.feature_dim, classes, stage.classifier_scale)
            else:
                self.classifier = nn.Linear(backbone.feature_dim, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs of the backbone (N, ...) to scores (N, classes)."""
        scores: Tensor = self.classifier(self.backbone(inputs).float())
        return scores


def validator(backbone: Backbone) -> Model:
    """Return the model that validates a stage of classes; it shares the weights of the backbone."""
    return Model(backbone, NearestUnitMean(backbone.feature_dim))
