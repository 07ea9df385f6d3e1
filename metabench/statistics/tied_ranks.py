"""Ranks with ties: one more than the number of rows that are significantly better, in the order of the means.

Within one column every two rows are compared by a t test of the means that the column shows (see
`metabench.statistics.means`): paired by episode as far as both met the same, with the spread of trainings where a row
has several seeds. All comparisons of the column are corrected together (Holm 1979). Rows that no test can tell apart
from the best share rank 1, and so on; "not significantly different" is not transitive, so a rank may be shared by rows
that differ from each other.

Tests of paired and unpaired rows differ in power, so a row with a wide interval may differ significantly from fewer
rows than a better one. Its rank would then be the better of the two, for no merit of its own. So ranks follow the
means: a row's rank is the largest of its own count and those of all rows with a mean as good or better. These are the
smallest ranks that follow the means and give no row a better place than its own tests do. (To lower the rank of the
better row instead would let a single row of few episodes, put at the end of a column, wipe out all ranks above it.)

A row of a single episode has no rank: the spread of its score is unknown. All pairs at once, as matrices,
because a column of 500 rows has 124,750 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from metabench.statistics.mean_moments import Seeds
from metabench.statistics.means import compare_means
from metabench.statistics.multiple_testing import Matrix, holm_rejects


@dataclass(frozen=True)
class Rank:
    """A place in a column, and whether another row has the same."""

    place: int
    shared: bool

    def __str__(self) -> str:
        """Return the rank as in sports: ``2``, or ``2=`` if it is shared."""
        return f"{self.place}=" if self.shared else str(self.place)


class Rankable(Protocol):
    """One row of a column."""

    @property
    def runs(self) -> Seeds:
        """Its runs, one for each seed of the training."""

    @property
    def merit(self) -> float:
        """Its mean, with the sign that makes larger better."""

    @property
    def is_rankable(self) -> bool:
        """True where it has more than a single episode."""


def rank_text(rank: Rank | None) -> str:
    """Return a rank as pages show it; ``-`` for none."""
    return "-" if rank is None else str(rank)


def rank(results: Sequence[Rankable]) -> list[Rank | None]:
    """Return the rank of each result of a column; None for one of a single episode."""
    able = [index for index, result in enumerate(results) if result.is_rankable]
    ranks: list[Rank | None] = [None] * len(results)
    if able:
        gaps, p = compare_rows([results[index] for index in able])
        merits = [results[index].merit for index in able]
        for index, place in zip(able, places(merits, gaps, p), strict=True):
            ranks[index] = place
    return ranks


def compare_rows(results: Sequence[Rankable]) -> tuple[Matrix, Matrix]:
    """Return the differences of the means, gaps[i, j] = mean_i - mean_j with larger the better, and their p-values."""
    return compare_means([[result.runs] for result in results])


def places(merits: ArrayLike, gaps: Matrix, p: Matrix) -> list[Rank]:
    """Return the ranks of k rows, which never contradict the order of their means.

    Args:
        merits: (k,) means, larger is better.
        gaps, p: (k, k) differences, [i, j] = i - j, and p-values, as from `compare_rows`.
    """
    means = np.asarray(merits, dtype=np.float64)
    counts = 1 + (holm_rejects(p) & (gaps > 0)).sum(0)
    order = np.argsort(-means, kind="stable")
    largest = np.maximum.accumulate(counts[order])
    last = np.searchsorted(-means[order], -means, side="right") - 1  # equal means have the same rank
    numbers = largest[last]
    shared = np.bincount(numbers) > 1
    return [Rank(int(number), bool(shared[number])) for number in numbers]
