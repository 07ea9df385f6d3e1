"""SimpleShot (Wang, Chao, Weinberger and van der Maaten 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, distances_to_means


class SimpleShot(FeatureHead):
    """The nearest class mean of transformed features (section 3).

    Args:
        feature_dim: D.
        transform: ``un``, features as they are; ``l2n``, of length 1; ``cl2n``, less the mean of the base classes'
            features, then of length 1.
    """

    def __init__(self, feature_dim: int, transform: str = "cl2n") -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("base_mean", torch.zeros(feature_dim))

    def study(self, features: Tensor, classes: Tensor) -> None:
        """Keep the mean over all images of the base classes."""
        self.base_mean = features.double().mean(0).float()

    def logits(self, episode: Episode) -> Tensor:
        """Return the negative squared distances to the class means, (B, Q, way)."""
        support, query = self._transformed(episode.support), self._transformed(episode.query)
        return -distances_to_means(query, support, episode.labels, episode.way)

    def _transformed(self, features: Tensor) -> Tensor:
        if self.transform == "un":
            return features
        return F.normalize(features - self.base_mean if self.transform == "cl2n" else features, dim=-1)
