"""Ranks with ties: the rank of a row is 1 + the number of rows that are significantly better.

Within one column every two rows are compared: by a paired t test where they met the same episodes, by Welch's
test where they did not (their difference is then much less certain). All comparisons of the column are
corrected together (Holm 1979). Rows that no test can tell apart from the best share rank 1, and so on; "not
significantly different" is not transitive, so a rank may be shared by rows that differ from each other.

All pairs at once, as matrices, because a column of 500 rows has 124,750 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.leaderboard.rows import Result

ALPHA = 0.05
_ZERO = 1e-13  # variances of scores in [-1, 1] below this are rounding

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Rank:
    """A place in a column, and whether another row has the same."""

    place: int
    shared: bool

    def __str__(self) -> str:
        """As in sports: ``2``, or ``2=`` if it is shared."""
        return f"{self.place}=" if self.shared else str(self.place)


def rank(results: Sequence[Result]) -> list[Rank]:
    """Return the rank of each result of a column."""
    if not results:
        return []
    gaps, p = compare_all(results)
    better = holm_rejects(p) & (gaps > 0)
    places = 1 + better.sum(0)
    counts = np.bincount(places)
    return [Rank(int(place), bool(counts[place] > 1)) for place in places]


def compare_all(results: Sequence[Result]) -> tuple[Matrix, Matrix]:
    """Return the differences of the means, gaps[i, j] = mean_i - mean_j with larger the better, and their p-values.

    Two rows that agree on every episode have p = 1; so has a pair of which one has a single episode.
    """
    size = len(results)
    unit = max(float(np.abs(result.merits).max()) for result in results) or 1.0
    scores = [result.merits / unit for result in results]
    digests = [
        (result.digest or str(number), len(x)) for number, (result, x) in enumerate(zip(results, scores, strict=True))
    ]
    means = np.array([x.mean() for x in scores])
    squared_errors = np.array([_variance(x) / len(x) for x in scores])  # of the means
    df = np.array([len(x) - 1.0 for x in scores])
    gaps = means[:, None] - means[None, :]
    variances = squared_errors[:, None] + squared_errors[None, :]
    freedom = _welch(variances, squared_errors, df)
    for digest in set(digests):
        members = np.flatnonzero([other == digest for other in digests])
        if len(members) > 1:
            square = np.ix_(members, members)
            paired = np.stack([scores[index] for index in members])
            variances[square] = _variances_of_differences(paired) / paired.shape[1]
            freedom[square] = paired.shape[1] - 1
    p, above = np.ones((size, size)), np.triu_indices(size, 1)
    p[above] = _p_values(gaps[above], variances[above], freedom[above])
    p.T[above] = p[above]
    p[df < 1, :] = p[:, df < 1] = 1.0
    return unit * gaps, p


def holm_rejects(p: Matrix, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Return which p-values (a symmetric matrix; each pair counts once) Holm's step-down method rejects."""
    above = np.triu_indices(len(p), 1)
    ordered = np.sort(p[above])
    failing = np.flatnonzero(ordered > alpha / np.arange(len(ordered), 0, -1))
    if not len(failing):
        return ~np.eye(len(p), dtype=bool)
    return np.asarray(p < ordered[failing[0]])


def _variance(x: Matrix) -> float:
    return float(x.var(ddof=1)) if len(x) > 1 else 0.0


def _variances_of_differences(x: Matrix) -> Matrix:
    """Sample variance of x_i - x_j over episodes, for all rows i, j of (k, T)."""
    centred = x - x.mean(1, keepdims=True)
    products = centred @ centred.T / max(1, x.shape[1] - 1)
    own = np.diag(products)
    variances: Matrix = np.maximum(0.0, own[:, None] + own[None, :] - 2 * products)
    return variances


def _welch(variances: Matrix, squared_errors: Matrix, df: Matrix) -> Matrix:
    """Welch-Satterthwaite degrees of freedom of every pair."""
    parts = squared_errors**2 / np.maximum(df, 1.0)
    below = parts[:, None] + parts[None, :]
    return np.divide(variances**2, below, out=np.ones_like(below), where=below > 0)


def _p_values(gaps: Matrix, variances: Matrix, freedom: Matrix) -> Matrix:
    """Two-sided p-values; where nothing varies, 1 for equal means, else the exact sign-flip test."""
    from scipy.special import stdtr  # scipy.stats takes ten times as long to import

    varies = variances * np.maximum(freedom + 1, 1) > _ZERO
    t = np.divide(gaps, np.sqrt(variances), out=np.zeros_like(gaps), where=varies)
    p = 2 * stdtr(freedom, -np.abs(t))
    return np.where(varies, p, np.where(np.abs(gaps) < 1e-9, 1.0, np.exp2(-np.minimum(freedom, 1000))))
