"""Interfaces of episode protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.data.split import RowIndices
from metabench.episodes.batch import EpisodeBatch

if TYPE_CHECKING:
    from torch import Tensor


class EpisodeProtocol(Protocol):
    """Protocol by which episodes are drawn from a split; an implementation is constructed with its parameters."""

    n_query: int
    """Queries in one episode; where episodes differ, the most that one can have. `check` may set it for a split."""

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError, naming class and remedy, where `split` cannot furnish an episode."""
        ...

    def width(self, split: ClassSplit) -> int:
        """Return how many random words one episode needs."""
        ...

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Turn (B, width) random words into B episodes; row b of the result depends on row b alone.

        Where episodes differ in shape, only the first of the rows: as many as have the shape of the first one, at
        least that. The rest is asked for again.
        """
        ...


@runtime_checkable
class ValuedProtocol(EpisodeProtocol, Protocol):
    """A protocol whose episodes are scored by another metric than accuracy (`ProtocolSpec.metric`)."""

    def values(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the value of the metric (B,) in each of B episodes; where its spec has parts, (B, 1 + parts).

        Args:
            outputs: (B, Q, way) scores of the queries, or (B, Q, D) predicted numbers.
            truth: int64 (B, Q) labels, or float (B, Q, D) numbers.
        """
        ...


@runtime_checkable
class DisjointProtocol(EpisodeProtocol, Protocol):
    """A protocol whose episodes can also be made of images that no other episode uses (`--sampling open`)."""

    way: int
    """Classes in one episode."""
    per_class: int
    """Images of each of them, support and query."""

    def arrange(self, rows: RowIndices) -> EpisodeBatch:
        """Make image rows (B, way, per_class), distinct and each line of one class, into B episodes."""
        ...


@runtime_checkable
class GroupedProtocol(EpisodeProtocol, Protocol):
    """A protocol whose episodes take all their classes from one group each: then the test set is a sample of groups."""

    def groups(self, split: ClassSplit) -> NDArray[np.int64]:
        """Return the number of the group (C,) of each class."""
        ...


@runtime_checkable
class ListedProtocol(EpisodeProtocol, Protocol):
    """A protocol that measures a list of episodes, each once; `draw` picks from it for other purposes."""

    def listed(self, start: int, stop: int, split: ClassSplit) -> EpisodeBatch:
        """Return the episodes ``start <= i < stop`` of the list."""
        ...
