"""Tally of the classes and predictions of episodes, for class-level intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.data.split import RowIndices
from metabench.episodes.batch import EpisodeBatch
from metabench.records.scores import metric_as_plain, parts_as_plain
from metabench.registry.metric import ACCURACY, Metric
from metabench.statistics.episode_scores import first_column


class EpisodeTally:
    """Digest, classes and query counts of consecutive episodes.

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
        self._members: list[RowIndices] = []
        self._ways: list[RowIndices] = []
        self._queries: list[RowIndices] = []

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
    def queries(self) -> RowIndices:
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
            **({"correct": answers} if counted else {"values": answers, "metric": metric_as_plain(metric)}),
            **({"parts": parts_as_plain(parts, columns[:, 1:])} if parts else {}),
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
