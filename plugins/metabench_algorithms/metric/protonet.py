"""Prototypical Networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, distances_to_means


class NearestMean(FeatureHead):
    """A query belongs to the class with the nearest mean of support features."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()

    def logits(self, episode: Episode) -> Tensor:
        """Return -d(f(x), c_k), squared Euclidean, c_k the class mean (equations 1 and 2)."""
        return -distances_to_means(episode.query, episode.support, episode.labels, episode.way)


class ProtoNet(NearestMean):
    """Learns features for the rule of `NearestMean`.

    Args:
        feature_dim: D.
        per_feature: divide distances by D (Lee et al. 2019, section 4.1). The nearest mean stays the nearest, but
            with many features training starts from a softmax that is not saturated, and learns far quicker.
    """

    def __init__(self, feature_dim: int, per_feature: bool = False) -> None:
        super().__init__(feature_dim)
        self.divisor = feature_dim if per_feature else 1

    def logits(self, episode: Episode) -> Tensor:
        """Return the scores of `NearestMean`, divided by D with `per_feature`."""
        return super().logits(episode) / self.divisor


class UnitMean(NearestMean):
    """The rule of `NearestMean` on features of length one; class means keep theirs (SimpleShot's L2N)."""

    def logits(self, episode: Episode) -> Tensor:
        """Return the negative squared distances (B, Q, way) to class means."""
        support, query = (F.normalize(part, dim=-1) for part in (episode.support, episode.query))
        return super().logits(replace(episode, support=support, query=query))
