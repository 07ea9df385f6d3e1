"""Made-up episodes for the checks: Gaussian classes and functions, with every freedom that the contract leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metabench.models.episode import Episode


@dataclass(frozen=True)
class Episodes:
    """B episodes as an algorithm meets them, and the truth about their queries, which it does not meet.

    Attributes:
        support: (B, S, *item). labels: int64 (B, S), or float (B, S, way) numbers. query: (B, Q, *item).
        truth: int64 (B, Q), or float (B, Q, way).
        way: number of classes, or how many numbers there are of an item.
    """

    support: Tensor
    labels: Tensor
    query: Tensor
    truth: Tensor
    way: int

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, rows: slice | list[int]) -> Episodes:
        """Return some of the episodes, in the order of `rows`."""
        return Episodes(self.support[rows], self.labels[rows], self.query[rows], self.truth[rows], self.way)

    @property
    def seen(self) -> Episode:
        """The episodes as a head sees them."""
        return Episode(self.support, self.labels, self.query, self.way)

    def to(self, device: torch.device) -> Episodes:
        """Return the same episodes on `device`."""
        support, labels, query, truth = (p.to(device) for p in (self.support, self.labels, self.query, self.truth))
        return Episodes(support, labels, query, truth, self.way)

    def queries(self, columns: Any) -> Episodes:
        """Return the same episodes with some of their queries, in the order of `columns`."""
        return replace(self, query=self.query[:, columns], truth=self.truth[:, columns])

    def reordered(self, order: Tensor) -> Episodes:
        """Return the same episodes with the support in another order (S,)."""
        return replace(self, support=self.support[:, order], labels=self.labels[:, order])

    def __str__(self) -> str:
        batch, support, queries = len(self), self.support.shape[1], self.query.shape[1]
        count = f"{batch} episodes" if batch > 1 else "an episode"
        if self.labels.is_floating_point():
            return f"{count} of {support} points to learn from and {queries} to predict"
        return f"{count} of {self.way} ways, {support} support items and {queries} queries"


@dataclass(frozen=True)
class BaseClasses:
    """Features (N, *item) of the classes that a head was trained on, and the class (N,) of each."""

    features: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> BaseClasses:
        """Return the same on `device`."""
        return BaseClasses(self.features.to(device), self.classes.to(device))


def generator(seed: int) -> torch.Generator:
    """Return a random generator of its own: the kit must not touch the global one."""
    return torch.Generator().manual_seed(seed)


def permutation(count: int, seed: int) -> Tensor:
    """Return a permutation of ``range(count)`` that is not the identity."""
    order = torch.randperm(count, generator=generator(seed))
    return order if count < 2 or not torch.equal(order, torch.arange(count)) else order.roll(1)


def gaussians(
    item_shape: Sequence[int],
    *,
    way: int = 5,
    shots: int | Sequence[int] = 5,
    queries: int = 10,
    batch: int = 1,
    noise: float = 1.0,
    seed: int = 0,
    in_order: bool = False,
) -> Episodes:
    """Draw episodes of Gaussian classes with standard normal means.

    Args:
        item_shape: of one support item or query.
        shots: support items of a class; one number for each class where they are uneven.
        queries: of an episode; their classes are spread evenly.
        noise: standard deviation within a class; 1 makes neighbouring classes overlap.
        in_order: support and queries sorted by class, as the standard protocol draws them. Otherwise every
            episode has its own order, and where shots are uneven, its own poorest class.
    """
    random = generator(seed)
    counts = [shots] * way if isinstance(shots, int) else list(shots)
    labels = torch.repeat_interleave(torch.arange(way), torch.tensor(counts)).repeat(batch, 1)
    truth = (torch.arange(queries) * way // queries).repeat(batch, 1)
    if not in_order:
        names = torch.rand(batch, way, generator=random).argsort(1)
        labels = names.gather(1, labels).gather(1, torch.rand(labels.shape, generator=random).argsort(1))
        truth = torch.randint(way, truth.shape, generator=random) if queries < way else truth
        truth = truth.gather(1, torch.rand(truth.shape, generator=random).argsort(1))
    size = math.prod(item_shape)
    means = torch.randn(batch, way, size, generator=random)

    def draw(classes: Tensor) -> Tensor:
        items = means.gather(1, classes[..., None].expand(-1, -1, size))
        items = items + noise * torch.randn(items.shape, generator=random)
        return items.view(*classes.shape, *item_shape)

    return Episodes(draw(labels), labels, draw(truth), truth, way)


def functions(*, points: int = 25, queries: int = 10, batch: int = 1, noise: float = 1.0, seed: int = 0) -> Episodes:
    """Draw episodes of functions of one number, y = level + noise * slope * x, each with its points in any order.

    Args:
        points: to learn from. queries: to predict.
        noise: how far functions are from constants; levels and slopes are standard normal, x is uniform in [-1, 1].
    """
    random = generator(seed)
    level, slope = (torch.randn(batch, 1, 1, generator=random) for _ in range(2))
    x = 2 * torch.rand(batch, points + queries, 1, generator=random) - 1
    y = level + noise * slope * x
    return Episodes(x[:, :points], y[:, :points], x[:, points:], y[:, points:], 1)
