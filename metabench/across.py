"""Is A better than B over many cells? Means over cells, their intervals, and ranks with ties.

The cells are those of a suite, no sample of anything: what varies is the episodes within each. The difference of two
means is the mean of the differences, and its variance the sum of theirs over the squared number of cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.leaderboard.ranks import Rank, holm_rejects
from metabench.scores import EpisodeScores
from metabench.stats import t_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """A mean, its squared standard error, and the degrees of freedom of that."""

    mean: float
    variance: float
    df: float


def mean_over_cells(row: Sequence[EpisodeScores]) -> tuple[float, float | None]:
    """Return the mean of a method's means, and the half-width of its 95 % interval; None where no episode varies."""
    found = _together([_moments(scores.values) for scores in row])
    return found.mean, t_quantile(found.df, 0.95) * math.sqrt(found.variance) if found.variance else None


def rank_over_cells(rows: Sequence[Sequence[EpisodeScores]]) -> list[Rank]:
    """Rank methods (k rows of scores in the same cells, of one metric).

    A rank is one more than the number of methods that are significantly better: t tests of the difference of the means
    over cells, paired by episode where both met the same, all pairs corrected together (Holm 1979) at 5 %.
    """
    size = len(rows)
    gaps, p = np.zeros((size, size)), np.ones((size, size))
    for i in range(size):
        for j in range(i):
            found = _together([_difference(a, b) for a, b in zip(rows[i], rows[j], strict=True)])
            gaps[i, j], gaps[j, i] = found.mean, -found.mean
            p[i, j] = p[j, i] = _p_value(found)
    places = 1 + (holm_rejects(p) & (gaps > 0)).sum(0)
    counts = np.bincount(places)
    return [Rank(int(place), bool(counts[place] > 1)) for place in places]


def _moments(values: Floats) -> Moments:
    episodes = len(values)
    variance = float(values.var(ddof=1)) / episodes if episodes > 1 else 0.0
    return Moments(math.fsum(values) / episodes, variance, max(1.0, episodes - 1.0))


def _difference(a: EpisodeScores, b: EpisodeScores) -> Moments:
    if a.paired(b):
        return _moments(a.merits - b.merits)
    one, two = _moments(a.merits), _moments(b.merits)
    variance, df = _satterthwaite([(one.variance, one.df), (two.variance, two.df)])
    return Moments(one.mean - two.mean, variance, df)


def _together(cells: Sequence[Moments]) -> Moments:
    number = len(cells)
    variance, df = _satterthwaite([(cell.variance / number**2, cell.df) for cell in cells])
    return Moments(sum(cell.mean for cell in cells) / number, variance, df)


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the sum of independent variances, and its degrees of freedom (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / df for variance, df in parts)
    return total, total**2 / below if below else min(df for _, df in parts)


def _p_value(found: Moments) -> float:
    from scipy.special import stdtr

    if found.variance <= 1e-24:  # every episode says the same: the exact sign-flip test of so many
        return 1.0 if abs(found.mean) < 1e-9 else 2.0 ** -min(found.df, 1000)
    return 2.0 * float(stdtr(found.df, -abs(found.mean) / math.sqrt(found.variance)))
