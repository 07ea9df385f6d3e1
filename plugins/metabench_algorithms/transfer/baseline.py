"""Baseline and Baseline++ (Chen, Liu, Kira, Wang and Huang 2019)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError
from metabench_algorithms.transfer._fine_tuning import fit


class Baseline(FeatureHead):
    """A linear classifier on pre-trained features, fitted to the support of each episode (section 3.2)."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()

    def logits(self, episode: Episode) -> Tensor:
        """Return W' x + b of each query, (B, Q, way)."""
        weights, intercept = fit(episode.support, episode.labels, episode.way)
        return episode.query @ weights.mT + intercept[:, None]


class BaselinePlusPlus(FeatureHead):
    """A classifier by cosines, fitted to the support of each episode (section 3.2).

    Args:
        feature_dim: D.
        scale: factor of the cosines; the authors take 2 with few classes and 10 for Omniglot.
    """

    def __init__(self, feature_dim: int, scale: float = 2.0) -> None:
        super().__init__()
        if scale <= 0:
            raise UsageError(f"algo.scale must be above 0, not {scale}")
        self.scale = scale

    def logits(self, episode: Episode) -> Tensor:
        """Return the scaled cosine of each query and the weights of each class, (B, Q, way)."""
        support, query = (F.normalize(features, dim=-1) for features in (episode.support, episode.query))
        weights, _ = fit(support, episode.labels, episode.way, self.scale)
        return self.scale * query @ F.normalize(weights, dim=-1).mT
