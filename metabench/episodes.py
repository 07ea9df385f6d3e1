"""Episodes addressed by index: episode `i` is a pure function of (protocol, data digest, seed, `i`).

So every algorithm sees the same episodes, and chunk size, device, worker count, shard and resume cannot
change a score.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.data.paired_split import PairedSplit
from metabench.episode_checks import require_episodes
from metabench.errors import UsageError
from metabench.registry.metric import ACCURACY, Metric
from metabench.statistics.episode_scores import first_column, metric_as_record, parts_as_record
from metabench.utils.random_streams import Stream

if TYPE_CHECKING:
    from torch import Tensor

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

    def __getitem__(self, which: slice) -> EpisodeBatch:
        support, query = (
            (self.support[which], self.support_labels[which]),
            (self.query[which], self.query_labels[which]),
        )
        return EpisodeBatch(*support, *query, self.way)


class EpisodeProtocol(Protocol):
    """How episodes are drawn from a split. An implementation is constructed with its parameters."""

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

    def arrange(self, rows: Rows) -> EpisodeBatch:
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

    def query_orders(self, start: int, stop: int, n_query: int) -> Rows:
        """Return the order (episodes, n_query) in which the queries of each episode are shown to an algorithm.

        Protocols draw queries class by class, so their position would tell their label.
        """
        orders: Rows = self._orders.words(start, stop)[:, :n_query].argsort(axis=1)  # no ties in 64 random bits
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


class EpisodeTally:
    """What is kept of consecutive episodes: which they were, and which classes took part.

    Args:
        starts: int64 (C + 1,) class boundaries of the split, see `ClassSplit`.
        groups: (C,) the group of each class, where episodes are of one group: it is kept which groups took part.
        sampled: whether the classes are a sample of others; if not, a record says nothing of them.
    """

    def __init__(
        self, starts: NDArray[np.int64], groups: NDArray[np.int64] | None = None, sampled: bool = True
    ) -> None:
        self._sampled = sampled
        self._hash = hashlib.sha256()
        self._starts, self._groups = starts, groups
        self._units = len(starts) - 1 if groups is None else int(groups.max()) + 1
        self._members: list[Rows] = []
        self._ways: list[Rows] = []
        self._queries: list[Rows] = []

    def update(self, batch: EpisodeBatch) -> None:
        """Add the episodes of `batch`, which must follow those added before."""
        rows = np.concatenate([batch.support, batch.query], axis=1)
        self._hash.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
        members = np.searchsorted(self._starts, batch.support, side="right") - 1
        members = np.sort(members if self._groups is None else self._groups[members], axis=1)
        first = members < self._units  # base classes beside those measured are no sample: they stay the same
        first[:, 1:] &= members[:, 1:] != members[:, :-1]
        self._members.append(members[first].astype(np.int32))
        self._ways.append(first.sum(1))
        self._queries.append(np.full(len(batch), batch.query.shape[1]))

    @property
    def digest(self) -> str:
        """SHA-256 over the image rows of the episodes so far: equal digests mean paired results."""
        return self._hash.hexdigest()

    @property
    def queries(self) -> Rows:
        """Queries in each episode, (episodes,)."""
        return np.concatenate([np.zeros(0, np.int64), *self._queries])

    @property
    def class_episodes(self) -> NDArray[np.int64]:
        """The number of episodes (C,) that each class (or group) took part in."""
        return np.bincount(self._flat, minlength=self._units)

    def class_sums(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the sum (C,) of the scores (episodes,) of the episodes that each class (or group) took part in."""
        ways = np.concatenate([np.zeros(0, np.int64), *self._ways])
        return np.bincount(self._flat, np.repeat(scores, ways), self._units).astype(np.float64)

    def record(
        self, scores: NDArray[np.float64], metric: Metric = ACCURACY, parts: Sequence[Metric] = ()
    ) -> dict[str, Any]:
        """Return the ``scores`` of a record.

        Args:
            scores: (episodes,) shares of correct answers in [0, 1], or values of another metric; (episodes, 1 + parts)
                where it has parts.
        """
        columns, scores = scores.reshape(len(scores), -1), first_column(scores)
        queries, ways = self.queries, np.concatenate(self._ways)
        uniform = bool((queries == queries[0]).all() and (ways == ways[0]).all())
        counted = metric == ACCURACY
        whole = counted and uniform
        counts: NDArray[Any] = np.rint(scores * queries) if counted else scores
        sums = self.class_sums(counts if whole else scores)
        answers = (counts.astype(np.int64) if counted else counts).tolist()
        return {
            "n_query": int(queries[0]) if uniform else queries.tolist(),
            **({"correct": answers} if counted else {"values": answers, "metric": metric_as_record(metric)}),
            **({"parts": parts_as_record(parts, columns[:, 1:])} if parts else {}),
            "episodes_digest": self.digest,
            "classes": None
            if not self._sampled
            else {
                "episodes": self.class_episodes.tolist(),
                ("correct" if whole else "totals"): (sums.astype(np.int64) if whole else sums).tolist(),
                **({} if self._groups is None else {"of": "groups"}),
            },
        }

    @property
    def _flat(self) -> NDArray[np.int32]:
        return np.concatenate([np.zeros(0, np.int32), *self._members])
