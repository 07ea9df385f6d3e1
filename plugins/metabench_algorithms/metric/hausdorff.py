"""The modified Hausdorff distance between drawings (Dubuisson and Jain 1994), the baseline of Lake et al. (2015)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabench.api import Episode, FeatureHead, UsageError

_NUMBERS_AT_ONCE = 1 << 16
"""Distances between points in one step: what stays in the cache of a core."""


class Hausdorff(FeatureHead):
    """A query belongs to the class of the nearest support drawing, drawings being sets of ink pixels.

    As the authors' ``demo_classification.py``: the coordinates of the pixels, less their mean, and of two sets the
    larger of the two mean distances from the points of one to the nearest point of the other.

    Args:
        feature_dim: D, the pixels of a square image of one channel. What is no image is read as one whose last row is
            short.
        threshold: a pixel is ink if its value, ink 1 and paper 0, is above it.

    Raises:
        UsageError: images of three channels.
    """

    def __init__(self, feature_dim: int, threshold: float = 0.5) -> None:
        super().__init__()
        self.side, self.threshold = math.isqrt(feature_dim - 1) + 1, threshold
        if self.side**2 != feature_dim and feature_dim % 3 == 0:
            raise UsageError(
                f"hausdorff compares square grey drawings by their pixels, and {feature_dim} values are none; "
                "use it with --backbone pixels on such a dataset"
            )

    def logits(self, episode: Episode) -> Tensor:
        """Return minus the distance to the nearest support drawing of each class, (B, Q, way)."""
        batch, queries = episode.query.shape[:2]
        distances = self._distances(episode.query, episode.support)
        index = episode.labels[:, None].expand(batch, queries, -1)
        nearest = distances.new_full((batch, queries, episode.way), torch.inf)
        return -nearest.scatter_reduce(2, index, distances, "amin").to(episode.query.dtype)

    def _distances(self, query: Tensor, support: Tensor) -> Tensor:
        """Return the distances (B, Q, S) of drawings (B, Q, D) and (B, S, D)."""
        (batch, queries), supports = query.shape[:2], support.shape[1]
        points, counts = self._points(torch.cat([query, support], dim=1).flatten(0, 1))
        rows = torch.arange(len(points), device=points.device).view(batch, -1)
        first = rows[:, :queries, None].expand(-1, -1, supports).flatten()
        second = rows[:, None, queries:].expand(-1, queries, -1).flatten()
        step = max(1, _NUMBERS_AT_ONCE // points.shape[1] ** 2)
        distances = [
            self._compare(points[a], counts[a], points[b], counts[b])
            for a, b in zip(torch.split(first, step), torch.split(second, step), strict=True)
        ]
        return torch.cat(distances).view(batch, queries, supports)

    def _points(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the centred coordinates of the ink of images (N, D), float64 (N, P, 2), and how many count (N,)."""
        ink = images > self.threshold
        counts = ink.sum(1)
        most = max(1, int(counts.max()))
        order = ink.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :most]
        points = torch.stack([order // self.side, order % self.side], -1).to(torch.float64)
        there = self._there(counts, most)[..., None]
        mean = (points * there).sum(1, keepdim=True) / counts.clamp(min=1)[:, None, None]
        return points - mean, counts

    @staticmethod
    def _there(counts: Tensor, most: int) -> Tensor:
        """Return which of `most` places hold a point, bool (N, P)."""
        return torch.arange(most, device=counts.device) < counts[:, None]

    def _compare(self, a: Tensor, a_count: Tensor, b: Tensor, b_count: Tensor) -> Tensor:
        """Return the distances (M,) of M pairs of padded sets (M, P, 2); a blank image is as far as can be."""
        a, b = (points[:, : max(1, int(count.max()))] for points, count in ((a, a_count), (b, b_count)))
        a_there, b_there = self._there(a_count, a.shape[1]), self._there(b_count, b.shape[1])
        squares = (a[:, :, None, 0] - b[:, None, :, 0]).square_()
        squares += (a[:, :, None, 1] - b[:, None, :, 1]).square_()
        if not (bool(a_there.all()) and bool(b_there.all())):
            squares.masked_fill_(~(a_there[:, :, None] & b_there[:, None, :]), (2.0 * self.side) ** 2)
        to_b = (squares.amin(2).sqrt_() * a_there).sum(1) / a_count.clamp(min=1)
        to_a = (squares.amin(1).sqrt_() * b_there).sum(1) / b_count.clamp(min=1)
        return torch.maximum(to_a, to_b)
