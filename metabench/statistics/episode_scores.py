"""The scores of one run, episode by episode: one number for each, in the unit of the metric.

Everything that summarises or compares runs works on these, whether they came from counts of correct answers or values
of a metric, and whether or not episodes differ in size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.registry.metric import ACCURACY, Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Classes = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True, eq=False)
class EpisodeScores:
    """One number for each episode.

    Attributes:
        values: (T,) in the unit of the metric: percent for accuracy.
        metric: what they are.
        queries: number of queries of all episodes where the scores are shares of correct answers; else 0.
        digest: of the episodes; equal digests and lengths mean paired scores.
        classes: the episodes (C,) that each class took part in and the sum (C,) of their scores; None where the
            episodes have no classes or differ in their number.
    """

    values: Floats
    metric: Metric = ACCURACY
    queries: int = 0
    digest: str = ""
    classes: tuple[Ints, Floats] | None = None

    @classmethod
    def of_counts(
        cls, correct: ArrayLike, n_query: ArrayLike, classes: Classes | None = None, digest: str = ""
    ) -> EpisodeScores:
        """Return the accuracies of counts (T,) out of `n_query`, one number or (T,).

        Args:
            classes: for each class of the test set the episodes it took part in and the correct answers in those,
                where all episodes have as many queries.

        Raises:
            ValueError: no counts, or counts that are not integers in ``[0, n_query]``.
        """
        counts, out_of = np.asarray(correct), np.asarray(n_query)
        if counts.ndim != 1 or counts.size == 0 or counts.dtype.kind not in "iu":
            raise ValueError("per-episode counts must be a non-empty row of integers")
        if out_of.min() < 1 or counts.min() < 0 or (counts > out_of).any():
            raise ValueError(f"per-episode counts must lie in [0, {n_query if out_of.ndim == 0 else 'n_query'}]")
        total = int(np.broadcast_to(out_of, counts.shape).sum())
        sums = None
        if classes is not None and out_of.ndim == 0:
            sums = np.asarray(classes[0], np.int64), 100.0 * np.asarray(classes[1], np.float64) / out_of
        return cls(100.0 * counts.astype(np.float64) / out_of, ACCURACY, total, digest, sums)

    @classmethod
    def mean(cls, runs: Sequence[EpisodeScores]) -> EpisodeScores:
        """Return the mean of several runs over the same episodes (`paired`)."""
        first = runs[0]
        sums = [run.classes for run in runs]
        classes = None
        if first.classes is not None and None not in sums:
            classes = first.classes[0], np.mean([part[1] for part in sums if part], axis=0)
        values = np.mean([run.values for run in runs], axis=0)
        return cls(values, first.metric, sum(run.queries for run in runs), first.digest, classes)

    def __len__(self) -> int:
        return len(self.values)

    def paired(self, other: EpisodeScores) -> bool:
        """Return whether both are of the same episodes."""
        return bool(self.digest) and self.digest == other.digest and len(self) == len(other)

    @property
    def merits(self) -> Floats:
        """The scores (T,) with the sign that makes larger better."""
        return self.metric.sign * self.values


def first_column(scores: Floats) -> Floats:
    """Return the scores (T,) of episodes that may have parts beside them, (T, 1 + parts)."""
    return scores if scores.ndim == 1 else scores[:, 0]
