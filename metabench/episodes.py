"""Episodes addressed by index: episode `i` is a pure function of (protocol, data digest, seed, `i`).

So every algorithm sees the same episodes, and chunk size, device, worker count, shard and resume cannot
change a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

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

    def chunks(self, total: int, size: int, first: int = 0) -> Iterator[tuple[int, EpisodeBatch]]:
        """Yield (start, batch) over episodes ``first <= i < total`` in chunks that end at multiples of `size`."""
        start = first
        while start < total:
            stop = min(total, (start // size + 1) * size)
            yield start, self.batch(start, stop)
            start = stop


class EpisodeDigest:
    """SHA-256 over the image rows of consecutive episodes: equal digests mean paired results."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, batch: EpisodeBatch) -> None:
        """Add the episodes of `batch`, which must follow those added before."""
        rows = np.concatenate([batch.support, batch.query], axis=1)
        self._hash.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())

    def hexdigest(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()
