"""A batch of episodes as a head sees it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Episode:
    """A batch of B episodes with as many support items and queries each. The labels of queries are not among it.

    Make another one with `dataclasses.replace`: ``replace(episode, query=normalize(episode.query, dim=-1))``.

    Attributes:
        support: (B, S, D) features, or (B, S, C, H, W) feature maps for a head that reads maps
            (`metabench.registry.specs.AlgorithmSpec.reads`); S = shots of all classes together.
        labels: int64 (B, S) classes of the support, in ``[0, way)``; classes may have different numbers of shots.
        query: (B, Q, D) features or (B, Q, C, H, W) maps, in an order that tells nothing.
        way: number of classes.
        views: (B, S, V, D) features of V augmented copies of each support image, for algorithms with
            ``uses=("views",)``; None for others.
    """

    support: Tensor
    labels: Tensor
    query: Tensor
    way: int
    views: Tensor | None = None
