"""Prototypical Networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from metabench.modules import FeatureHead, prototypes, squared_distances


class ProtoNet(FeatureHead):
    """A query belongs to the class with the nearest mean of support features."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()

    def logits(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Return -d(f(x), c_k), squared Euclidean, c_k the class mean (equations 1 and 2)."""
        return -squared_distances(query, prototypes(support, labels, way))


class UnitMean(ProtoNet):
    """The rule of `ProtoNet` on features of length one; class means keep theirs (SimpleShot's L2N)."""

    def logits(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Return the negative squared distances (B, Q, way) to class means."""
        return super().logits(F.normalize(support, dim=-1), labels, F.normalize(query, dim=-1), way)
