"""Episodes addressed by index: episode `i` is a pure function of (protocol, data digest, seed, `i`).

So every algorithm sees the same episodes, and chunk size, device, worker count, shard and resume cannot
change a score.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.rng import Stream

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class EpisodeBatch:
    """B episodes as row numbers into a split's image array.

    Attributes:
        support, query: int64 (B, S) and (B, Q) image rows.
        support_labels, query_labels: int64 (B, S) and (B, Q), in ``[0, way)``.
        way: number of classes in each episode.
    """

    support: Rows
    support_labels: Rows
    query: Rows
    query_labels: Rows
    way: int

    def __len__(self) -> int:
        return len(self.support)


class EpisodeProtocol(Protocol):
    """How episodes are drawn from a split. An implementation is constructed with its parameters."""

    n_query: int
    """Queries in one episode."""

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError, naming class and remedy, where `split` cannot furnish an episode."""
        ...

    def width(self, split: ClassSplit) -> int:
        """Return how many random words one episode needs."""
        ...

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Turn (B, width) random words into B episodes; row b of the result depends on row b alone."""
        ...


@runtime_checkable
class DisjointProtocol(EpisodeProtocol, Protocol):
    """A protocol whose episodes can also be made of images that no other episode uses (`--sampling open`)."""

    way: int
    """Classes in one episode."""
    per_class: int
    """Images of each of them, support and query."""

    def arrange(self, rows: Rows) -> EpisodeBatch:
        """Make image rows (B, way, per_class), distinct and each line of one class, into B episodes."""
        ...


@runtime_checkable
class ListedProtocol(EpisodeProtocol, Protocol):
    """A protocol that measures a list of episodes, each once; `draw` picks from it for other purposes."""

    def listed(self, start: int, stop: int, split: ClassSplit) -> EpisodeBatch:
        """Return the episodes ``start <= i < stop`` of the list."""
        ...


class EpisodeSource:
    """The infinite, addressable sequence of episodes of one protocol on one split.

    Args:
        protocol: how to draw.
        split: what to draw from; checked at once.
        name: any JSON value that names the sequence (protocol, data digest, seed, purpose).
    """

    def __init__(self, protocol: EpisodeProtocol, split: ClassSplit, name: Any) -> None:
        protocol.check(split)
        self.protocol = protocol
        self.split = split
        self._stream = Stream(["episodes", name], protocol.width(split))
        self._ties = Stream(["ties", name], protocol.n_query)

    def batch(self, start: int, stop: int) -> EpisodeBatch:
        """Return episodes ``start <= i < stop``."""
        return self.protocol.draw(self._stream.words(start, stop), self.split)

    def tie_words(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Return the words that break ties between scores, (episodes, n_query)."""
        return self._ties.words(start, stop)

    def chunks(
        self, total: int, size: int, first: int = 0, stops: Sequence[int] = ()
    ) -> Iterator[tuple[int, EpisodeBatch]]:
        """Yield (start, batch) over episodes ``first <= i < total`` in chunks.

        They end at multiples of `size` and, so that one may stop there, at the `stops` (ascending).
        """
        start = first
        while start < total:
            stop = min(total, (start // size + 1) * size)
            after = bisect.bisect_right(stops, start)
            stop = min([stop, *stops[after : after + 1]])
            yield start, self.batch(start, stop)
            start = stop


class ListedSource(EpisodeSource):
    """The episodes that a protocol lists."""

    def __init__(self, protocol: ListedProtocol, split: ClassSplit, name: Any) -> None:
        super().__init__(protocol, split, name)
        self._listed = protocol.listed

    def batch(self, start: int, stop: int) -> EpisodeBatch:
        """Return episodes ``start <= i < stop``."""
        return self._listed(start, stop, self.split)


class EpisodeTally:
    """What is kept of consecutive episodes: which they were, and how their classes fared.

    Args:
        starts: int64 (C + 1,) class boundaries of the split, see `ClassSplit`.

    Attributes:
        class_episodes: int64 (C,), the episodes that each class took part in.
        class_correct: int64 (C,), the correct answers (to queries of any class) in those episodes.
    """

    def __init__(self, starts: NDArray[np.int64]) -> None:
        self._hash = hashlib.sha256()
        self._starts = starts
        self.class_episodes = np.zeros(len(starts) - 1, dtype=np.int64)
        self.class_correct = np.zeros(len(starts) - 1, dtype=np.int64)

    def update(self, batch: EpisodeBatch, correct: NDArray[np.integer[Any]]) -> None:
        """Add the episodes of `batch`, which must follow those added before, and their counts (B,)."""
        rows = np.concatenate([batch.support, batch.query], axis=1)
        self._hash.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
        members = np.sort(np.searchsorted(self._starts, batch.support, side="right") - 1, axis=1)
        first = np.ones(members.shape, dtype=bool)
        first[:, 1:] = members[:, 1:] != members[:, :-1]
        np.add.at(self.class_episodes, members[first], 1)
        np.add.at(self.class_correct, members[first], np.repeat(correct, first.sum(1)))

    @property
    def digest(self) -> str:
        """SHA-256 over the image rows of the episodes so far: equal digests mean paired results."""
        return self._hash.hexdigest()
