"""DN4, the Deep Nearest Neighbour Neural Network (Li, Wang, Xu, Huo, Gao and Luo 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError


class DN4(FeatureHead):
    """Each local descriptor of a query is compared with its nearest ones in the pool of a class (section 3.3).

    The descriptors of an image are the h w positions of its map; those of all shots of a class are one pool.

    Args:
        map_shape: (C, h, w).
        neighbours: k. Where a pool has fewer descriptors, all of them count.

    Raises:
        UsageError: no neighbours.
    """

    def __init__(self, map_shape: tuple[int, int, int], neighbours: int = 3) -> None:
        super().__init__()
        if neighbours < 1:
            raise UsageError(f"algo.neighbours must be at least 1, not {neighbours}")
        self.neighbours = neighbours

    def logits(self, episode: Episode) -> Tensor:
        """Return the image-to-class similarity (B, Q, way): sum_i sum_j cos(x_i, x_i^j) (equation 3)."""
        query, support = _descriptors(episode.query), _descriptors(episode.support)
        pools, empty = _pools(episode)
        # Class by class: the similarities to all pools at once are hundreds of megabytes for maps of 21x21.
        return torch.stack(
            [self._similarity(query, support, *pool) for pool in zip(pools.unbind(1), empty.unbind(1), strict=True)], -1
        )

    def _similarity(self, query: Tensor, support: Tensor, rows: Tensor, empty: Tensor) -> Tensor:
        """Return the similarity (B, Q) of queries (B, Q, hw, C) to the class of support rows (B, K)."""
        index = rows[..., None, None].expand(-1, -1, *support.shape[2:])
        pool = support.gather(1, index).flatten(1, 2)
        cosines = query.flatten(1, 2) @ pool.mT  # (B, Q hw, K hw)
        missing = empty.repeat_interleave(support.shape[2], dim=1)[:, None]
        nearest = cosines.masked_fill(missing, -torch.inf).topk(min(self.neighbours, pool.shape[1]), dim=-1).values
        nearest = nearest.masked_fill(nearest.isneginf(), 0.0)
        return nearest.sum(-1).view(query.shape[:3]).sum(-1)


def _descriptors(maps: Tensor) -> Tensor:
    """Return the descriptors of maps (B, N, C, h, w), of length 1: (B, N, hw, C)."""
    return F.normalize(maps.flatten(3).mT, dim=-1)


def _pools(episode: Episode) -> tuple[Tensor, Tensor]:
    """Return the support rows of each class (B, way, K), K the most shots of one, and which of them are empty."""
    counts = F.one_hot(episode.labels, episode.way).sum(1)
    places = torch.arange(int(counts.max()), device=counts.device)
    first = counts.cumsum(1) - counts
    order = episode.labels.argsort(dim=1, stable=True)
    ranks = (first[..., None] + places).clamp(max=order.shape[1] - 1)
    return order.gather(1, ranks.flatten(1)).view_as(ranks), places >= counts[..., None]
