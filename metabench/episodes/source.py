"""Episodes addressed by index: episode `i` is a pure function of (protocol, data digest, seed, `i`).

So every algorithm sees the same episodes, and chunk size, device, worker count, shard and resume cannot
change a score.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.data.paired_split import PairedSplit
from metabench.data.split import RowIndices
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.batch_checks import require_episodes
from metabench.episodes.protocols import EpisodeProtocol, GroupedProtocol, ListedProtocol
from metabench.episodes.tally import EpisodeTally
from metabench.errors import UsageError
from metabench.utils.random_streams import Stream


class EpisodeSource:
    """The infinite, addressable sequence of episodes of one protocol on one split.

    Args:
        protocol: how to draw.
        split: what to draw from; checked at once.
        name: any JSON value that names the sequence (protocol, data digest, seed, purpose).
    """

    _made = 0
    """Batches that the protocol made so far."""

    def __init__(self, protocol: EpisodeProtocol, split: ClassSplit, name: Any) -> None:
        protocol.check(split)
        self.protocol = protocol
        self.split = split
        self._stream = Stream(["episodes", name], protocol.width(split))
        self._name_queries(name)

    def _require(self, batch: EpisodeBatch, wanted: int, method: str, split: ClassSplit) -> None:
        """Check what the protocol made; values in the first batches and then in one of sixteen, for they take time."""
        self._made += 1
        values = self._made <= 4 or self._made % 16 == 0
        require_episodes(batch, wanted, f"{type(self.protocol).__name__}.{method}", split.starts, values)

    def _name_queries(self, name: Any) -> None:
        """Name the streams that have words for each query of an episode."""
        self._ties = Stream(["ties", name], self.protocol.n_query)
        self._orders = Stream(["query order", name], self.protocol.n_query)

    def runs(self, start: int, stop: int) -> Iterator[EpisodeBatch]:
        """Yield episodes ``start <= i < stop`` in batches of the same shape; mostly there is one."""
        yield from self._drawn(start, stop, self.split)

    def _drawn(self, start: int, stop: int, split: ClassSplit) -> Iterator[EpisodeBatch]:
        words = self._stream.words(start, stop)
        while len(words):
            batch = self.protocol.draw(words, split)
            self._require(batch, len(words), "draw", split)
            yield batch
            words = words[len(batch) :]

    def batch(self, start: int, stop: int) -> EpisodeBatch:
        """Return episodes ``start <= i < stop``, which must have one shape.

        Raises:
            UsageError: they have not.
        """
        first, *rest = self.runs(start, stop)
        if rest:
            raise UsageError("episodes of this protocol differ in shape, so they come one at a time: set train.batch=1")
        return first

    def tie_words(self, start: int, stop: int, n_query: int | None = None) -> NDArray[np.uint64]:
        """Return the words that break ties between scores: (episodes, n_query), for as many as there can be at most."""
        return self._ties.words(start, stop)[:, :n_query]

    def query_orders(self, start: int, stop: int, n_query: int) -> RowIndices:
        """Return the order (episodes, n_query) in which the queries of each episode are shown to an algorithm.

        Protocols draw queries class by class, so their position would tell their label.
        """
        orders: RowIndices = self._orders.words(start, stop)[:, :n_query].argsort(axis=1)  # no ties in 64 random bits
        return orders

    def chunks(
        self, total: int, size: int, first: int = 0, stops: Sequence[int] = ()
    ) -> Iterator[tuple[int, EpisodeBatch]]:
        """Yield (start, batch) over episodes ``first <= i < total`` in chunks of at most `size`, each of one shape.

        They end at multiples of `size` and, so that one may stop there, at the `stops` (ascending).
        """
        start = first
        while start < total:
            stop = min(total, (start // size + 1) * size)
            after = bisect.bisect_right(stops, start)
            stop = min([stop, *stops[after : after + 1]])
            for batch in self.runs(start, stop):
                yield start, batch
                start += len(batch)

    def tally(self) -> EpisodeTally:
        """Return an empty tally of these episodes."""
        if isinstance(self.split, PairedSplit):
            return EpisodeTally(self.split.support_starts, sampled=False)
        groups = self.protocol.groups(self.split) if isinstance(self.protocol, GroupedProtocol) else None
        return EpisodeTally(self.split.starts, groups)


class ListedSource(EpisodeSource):
    """The episodes that a protocol lists."""

    def __init__(self, protocol: ListedProtocol, split: ClassSplit, name: Any) -> None:
        super().__init__(protocol, split, name)
        self._listed = protocol.listed

    def runs(self, start: int, stop: int) -> Iterator[EpisodeBatch]:
        """Yield episodes ``start <= i < stop``, all of one shape."""
        batch = self._listed(start, stop, self.split)
        self._require(batch, stop - start, "listed", self.split)
        yield batch
