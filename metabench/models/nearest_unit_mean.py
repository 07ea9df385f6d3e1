"""The nearest class mean of features of length 1: how backbones are validated."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from metabench.models.episode import Episode
from metabench.models.interfaces import FeatureHead
from metabench.models.prototypes import distances_to_means


class NearestUnitMean(FeatureHead):
    """The nearest class mean of features of length 1, which validates a stage of classes whatever follows it."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()

    def logits(self, episode: Episode) -> Tensor:
        """Return the negative squared distances (B, Q, way)."""
        support, query = (F.normalize(features, dim=-1) for features in (episode.support, episode.query))
        return -distances_to_means(query, support, episode.labels, episode.way)
