"""Class means and squared distances to them, exact enough whatever offset the features have."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metabench.models.task_context import context_now

_MANY = 50
"""Classes from which on a product with one-hot labels costs more than sorting them."""

PointIndices = tuple[Tensor, Tensor]
"""Episodes (R,) and points (R,) of them."""


def prototypes(support: Tensor, labels: Tensor, way: int) -> Tensor:
    """Return the class means (B, way, D) of support features (B, S, D); classes may be uneven."""
    sums, counts = class_sums(support, labels, way)
    return sums / counts[..., None]


def class_sums(support: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
    """Return the sums (B, way, D) of the support features (B, S, D) of each class, and how many they are (B, way)."""
    if way > _MANY:
        return _sums(support, labels, way)
    onehot = nn.functional.one_hot(labels, way).to(support.dtype)
    return torch.einsum("bsw,bsd->bwd", onehot, support), onehot.sum(1)


def _sums(support: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
    """Return the same as `class_sums`, in time that does not grow with the number of classes; cannot be vmapped."""
    episodes, _, dim = support.shape
    owner = (labels + way * torch.arange(episodes, device=labels.device)[:, None]).flatten()
    counts = torch.bincount(owner, minlength=episodes * way)
    order = owner.argsort(stable=True)
    sums = nn.functional.embedding_bag(order, support.reshape(-1, dim), counts.cumsum(0) - counts, mode="sum")
    return sums.view(episodes, way, dim), counts.view(episodes, way).to(support.dtype)


def distances_to_means(query: Tensor, support: Tensor, labels: Tensor, way: int) -> Tensor:
    """Return the squared Euclidean distances (B, Q, way) of queries (B, Q, D) to the class means of the support.

    Those to the sums of n features, n x, are n^2 times as large, and are divided last. So where features are integers,
    as pixels of one bit are, equal distances come out equal, on every processor: a tie is seen as one.
    Features far from the origin lose no digits, see `squared_distances`.
    """

    def expand(query: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
        sums, counts = class_sums(support, labels, way)
        n = counts[:, None]
        products = torch.bmm(query, sums.transpose(1, 2))
        squares = query.square().sum(-1, keepdim=True)
        distances = (n.square() * squares - 2 * n * products + sums.square().sum(-1)[:, None]) / n.square()
        return distances, squares

    def differ(query: Tensor, support: Tensor, chosen: PointIndices) -> Tensor:
        sums, counts = class_sums(support, labels, way)
        n = counts[chosen[0], :, None]
        return (n * query[chosen][:, None] - sums[chosen[0]]).square().sum(-1) / n[..., 0].square()

    return _without_cancellation(expand, differ, query, support)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return squared Euclidean distances (B, N, M) between a (B, N, D) and b (B, M, D).

    They are computed as |a|^2 - 2 ab + |b|^2. Where the smallest distance of a point is a small part of its square,
    those terms have cancelled, as they do for features with a common offset. The distances of that point are then
    computed from another origin, and where that does not help, from differences.
    """

    def expand(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        products = torch.bmm(a, b.transpose(1, 2))
        squares = a.square().sum(-1, keepdim=True)
        return squares - 2 * products + b.square().sum(-1)[:, None, :], squares

    def differ(a: Tensor, b: Tensor, chosen: PointIndices) -> Tensor:
        return (a[chosen][:, None] - b[chosen[0]]).square().sum(-1)

    return _without_cancellation(expand, differ, a, b)


_CANCELLED = 2.0**-10
"""Share of a point's square below which its smallest distance has lost ten binary digits or more of float32's 24."""


def _without_cancellation(
    expand: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    differ: Callable[[Tensor, Tensor, PointIndices], Tensor],
    points: Tensor,
    others: Tensor,
) -> Tensor:
    """Return the distances (B, N, M) that `expand` computes, in another way for the points whose digits cancel.

    The origin is one of the `others`, so integers stay integers. Each point is decided by its own episode: what is in
    the batch beside it changes nothing.

    Args:
        expand: distances of points (B, N, D) from others (B, M, D), and the squares (B, N, 1) of the points.
        differ: distances (R, M) of chosen points from the others of their episodes, by subtraction.
    """
    if context_now().batched:  # no value can be asked for under vmap
        every = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device).nonzero(as_tuple=True)
        return differ(points, others, (every[0], every[1])).view(*points.shape[:2], -1)
    distances, squares = expand(points, others)
    cancelled = _cancelled(distances, squares)
    if not bool(cancelled.any()):
        return distances
    origin = _central(others)
    points, others = points - origin, others - origin
    again, squares = expand(points, others)
    distances = torch.where(cancelled[..., None], again, distances)
    chosen = (cancelled & _cancelled(again, squares)).nonzero(as_tuple=True)
    if not len(chosen[0]):
        return distances
    return distances.index_put(chosen, differ(points, others, (chosen[0], chosen[1])))


def _cancelled(distances: Tensor, squares: Tensor) -> Tensor:
    """Return which points (B, N) have a smallest distance that is a small part of their square."""
    return distances.detach().amin(-1) < _CANCELLED * squares.detach()[..., 0]


def _central(points: Tensor) -> Tensor:
    """Return the point (B, 1, D) of each episode that is closest to the mean of its points (B, M, D)."""
    with torch.no_grad():
        apart = (points - points.mean(1, keepdim=True)).abs().amax(-1)
        return points.gather(1, apart.argmin(1)[:, None, None].expand(-1, 1, points.shape[-1]))
