"""The variance of a mean over trainings and episodes, and its degrees of freedom.

Degrees of freedom are Satterthwaite's, with two corrections, since a few seeds may agree by luck; then he takes their
small spread for a small part of the variance, and so the whole for well known.

- From two degrees of freedom of the spread on (three seeds), and only in the degrees of freedom, the spread counts with
  the upper end of its one-sided 75 % interval: 3.5 and 2.1 times the variance of 3 and 5 seeds.
- Below (two seeds) the half-width is the root of the sum of the squares of two half-widths, of the seeds and of the
  episodes, each by Student's t of its own, and at least that for these trainings. The degrees of freedom are those with
  which Student's t of the whole variance has this half-width.

`benchmarks/seed_intervals.py` measures what that covers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metabench.statistics.episode_scores import Floats
from metabench.statistics.student_t import satterthwaite, t_quantile

_LUCK = 0.25
"""The chance that so few seeds agree even better than the degrees of freedom allow for."""
_FEW = 2.0
"""With fewer degrees of freedom than these, the variance between seeds has an interval without a useful upper end."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its squared standard error and the degrees of freedom of that."""

    mean: float
    variance: float
    df: float

    @property
    def half_width(self) -> float | None:
        """The half-width of its 95 % interval; None where nothing varies."""
        return t_quantile(self.df, 0.95) * math.sqrt(self.variance) if self.variance else None


def total_variance(
    between: ArrayLike, uncertainty: ArrayLike, shared: ArrayLike, shared_df: ArrayLike, closed: ArrayLike
) -> tuple[Floats, Floats]:
    """Return the variance of a mean and its degrees of freedom.

    Args:
        between: the part that comes from the spread of the seeds; 0 where there are no several seeds.
        uncertainty: the sum over what it is made of of (variance squared) / (degrees of freedom).
        shared, shared_df: the part that seeds have in common, of episodes (or classes), and its degrees of freedom.
        closed: the variance for these trainings: the total is never taken for less.
    """
    parts = (between, uncertainty, shared, shared_df, closed)
    seeds, below, episodes, episodes_df, least = (np.asarray(part, dtype=np.float64) for part in parts)
    df = satterthwaite(seeds, below, np.ones_like(seeds))
    few = (seeds > 0) & (df < _FEW)
    freedom = np.where(
        few,
        _quadrature_df(seeds, df, episodes, episodes_df, least),
        _cautious_df(seeds, df, episodes, episodes_df, least),
    )
    return np.maximum(seeds + episodes, least), freedom


def _cautious_df(seeds: Floats, seeds_df: Floats, episodes: Floats, episodes_df: Floats, least: Floats) -> Floats:
    """Return Satterthwaite's degrees of freedom with the spread of seeds as large as it may well be."""
    lucky = seeds + episodes < least
    spread, df = np.where(lucky, least - episodes, seeds), np.where(lucky, episodes_df, seeds_df)
    cautious = _caution(spread, df)
    return satterthwaite(cautious + episodes, cautious**2 / df + episodes**2 / episodes_df, episodes_df)


def _quadrature_df(seeds: Floats, seeds_df: Floats, episodes: Floats, episodes_df: Floats, least: Floats) -> Floats:
    """Return the df of the t interval whose half-width is those of seeds and episodes added in quadrature."""
    from scipy.special import stdtridf, stdtrit

    own, common = stdtrit(seeds_df, 0.975) ** 2, stdtrit(episodes_df, 0.975) ** 2
    squares, variance = np.maximum(own * seeds + common * episodes, common * least), np.maximum(seeds + episodes, least)
    ratio = np.where(variance > 0, squares, common) / np.where(variance > 0, variance, 1.0)
    df: Floats = np.clip(stdtridf(0.975, np.sqrt(ratio)), seeds_df, np.maximum(seeds_df, episodes_df))
    return df


def _caution(variance: Floats, df: Floats) -> Floats:
    """Return how large a variance may well be that is estimated with so many degrees of freedom."""
    from scipy.special import chdtri

    result, some = np.zeros_like(variance), variance > 0
    result[some] = variance[some] * df[some] / chdtri(df[some], 1 - _LUCK)
    return result
