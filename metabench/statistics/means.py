"""Means over seeds and cells, and the differences of two: variances and degrees of freedom.

A training draws a model, the episodes only examine it. For the runs of one method in one cell, the seeds s = 1 .. n
with means m_s, the variance of their mean over other trainings and other episodes is

    S² / n  +  mean over pairs of seeds of Cov(m_s, m_r),

where S² is the sample variance of the m_s and Cov the covariance over drawing episodes (`streams.covariances`): the
spread between seeds holds the noise that each has of its own and lacks only what they have in common, shared episodes'
luck. Both are unbiased, whatever lengths the seeds have, and nothing counts twice. For the difference of methods A
and B it is the S² / n of both, and of the covariances the means within A and within B less twice that between them.

Degrees of freedom are Satterthwaite's, with two corrections, since a few seeds may agree by luck; then he takes their
small spread for a small part of the variance, and so the whole for well known.

- From two degrees of freedom of the spread on (three seeds), and only in the degrees of freedom, the spread counts with
  the upper end of its one-sided 75 % interval: 3.5 and 2.1 times the variance of 3 and 5 seeds.
- Below (two seeds) the half-width is the root of the sum of the squares of two half-widths, of the seeds and of the
  episodes, each by Student's t of its own, and at least that for these trainings. The degrees of freedom are those with
  which Student's t of the whole variance has this half-width.

`benchmarks/seed_intervals.py` measures what that covers.

With one seed the spread is unknown. Such a mean stands for its one trained model, as one without training does.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.statistics.episode_scores import Floats
from metabench.statistics.shared_episodes import Bools, Run, covariances
from metabench.statistics.summary import summarise, t_quantile

Seeds = Sequence[Run]
"""The runs of one method in one cell, which differ in the training seed alone."""

_LUCK = 0.25
"""The chance that so few seeds agree even better than the degrees of freedom allow for."""
_FEW = 2.0
"""With fewer degrees of freedom than these, the variance between seeds has an interval without a useful upper end."""
_ROUNDING = 1e-13
"""Variances of scores in [-1, 1] below this are rounding."""


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


def is_rankable(seeds: Seeds) -> bool:
    """Whether the runs have two episodes each: of a single one nothing is known but its score."""
    return all(len(run.scores) > 1 for run in seeds)


def mean_over_cells(cells: Sequence[Seeds]) -> Estimate | None:
    """Return the mean over cells of one method's means over seeds; None where a cell has a single episode.

    The cells are those of a suite, no sample of anything: what varies is the episodes within each and the trainings.
    Cells that were measured with the same trained models are averaged seed by seed.
    """
    if not all(map(is_rankable, cells)):
        return None
    moments, spread = [_Moments.of([seeds]) for seeds in cells], _Spread.of([cells])
    count, sign = len(cells), cells[0][0].scores.metric.sign
    across, closed, df = np.array([[m.across[0, 0], m.closed[0, 0], m.df[0]] for m in moments]).T
    constant = np.array([_constant_variance(seeds) for seeds in cells])
    across, closed = across + constant, closed + constant
    shared = np.maximum(0.0, across) / count**2
    shared_df = _satterthwaite(shared.sum(), (shared**2 / df).sum(), df.min())
    found = total_variance(spread.own[0], spread.below[0], shared.sum(), shared_df, closed.sum() / count**2)
    return Estimate(sign * float(np.mean([m.means[0] for m in moments])), float(found[0]), float(found[1]))


def _constant_variance(seeds: Seeds) -> float:
    """Return the variance that stands for a Clopper-Pearson interval, where no episode of any seed differs; else 0."""
    values = seeds[0].scores.values
    if not all(np.all(run.scores.values == values[0]) for run in seeds):
        return 0.0
    shortest = min((run.scores for run in seeds), key=len)
    half = summarise(shortest).ci95
    return 0.0 if half is None else (half / t_quantile(len(shortest) - 1, 0.95)) ** 2


def compare_means(methods: Sequence[Sequence[Seeds]]) -> tuple[Floats, Floats]:
    """Compare every two of k methods by their means over the same cells.

    Args:
        methods: for each method its cells, with at least two episodes in every run.

    Returns:
        The differences (k, k) of the means, [i, j] = i - j with larger the better, and their two-sided p-values. Where
        nothing varies, p is 1 for equal means, else that of the exact sign-flip test.
    """
    count, cells = len(methods[0]), list(zip(*methods, strict=True))
    unit = max(float(np.abs(run.scores.values).max()) for row in methods for seeds in row for run in seeds) or 1.0
    size = len(methods)
    gaps, shared, closed, below = (np.zeros((size, size)) for _ in range(4))
    least = np.full((size, size), np.inf)
    for cell in cells:
        moments = _Moments.of(cell, unit)
        gaps += (moments.means[:, None] - moments.means[None, :]) / count
        part, df = moments.of_differences()
        shared += part / count**2
        below += (part / count**2) ** 2 / df
        closed += _of_differences(moments.closed) / count**2
        least = np.minimum(least, df)
    between, uncertainty = _Spread.of(methods, unit).of_differences()
    variances, df = total_variance(between, uncertainty, shared, _satterthwaite(shared, below, least), closed)
    return unit * gaps, _p_values(gaps, variances, df)


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
    df = _satterthwaite(seeds, below, np.ones_like(seeds))
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
    return _satterthwaite(cautious + episodes, cautious**2 / df + episodes**2 / episodes_df, episodes_df)


def _quadrature_df(seeds: Floats, seeds_df: Floats, episodes: Floats, episodes_df: Floats, least: Floats) -> Floats:
    """Return the df of the t interval whose half-width is those of seeds and episodes added in quadrature."""
    from scipy.special import stdtridf, stdtrit

    own, common = stdtrit(seeds_df, 0.975) ** 2, stdtrit(episodes_df, 0.975) ** 2
    squares, variance = np.maximum(own * seeds + common * episodes, common * least), np.maximum(seeds + episodes, least)
    ratio = np.where(variance > 0, squares, common) / np.where(variance > 0, variance, 1.0)
    df: Floats = np.clip(stdtridf(0.975, np.sqrt(ratio)), seeds_df, np.maximum(seeds_df, episodes_df))
    return df


@dataclass(frozen=True, eq=False)
class _Moments:
    """What the runs of k methods in one cell say, as merits (larger is better).

    Attributes:
        means: (k,) mean over seeds and episodes.
        closed: (k, k) covariance of these means over drawing episodes anew, the trained models given.
        across: (k, k) the same of two different seeds only; of the one there is where there is but one.
        same: (k, k) whether two methods share episodes.
        df: (k,) degrees of freedom of a method's own variance.
    """

    means: Floats
    closed: Floats
    across: Floats
    same: Bools
    df: Floats

    @classmethod
    def of(cls, cell: Sequence[Seeds], unit: float = 1.0) -> _Moments:
        runs = [run for seeds in cell for run in seeds]
        numbers = np.array([len(seeds) for seeds in cell])
        starts = np.cumsum(numbers) - numbers
        products, together = covariances(runs)
        products /= unit**2
        same = np.logical_or.reduceat(np.logical_or.reduceat(together, starts, 0), starts, 1)
        closed = np.add.reduceat(np.add.reduceat(products, starts, 0), starts, 1) / np.outer(numbers, numbers)
        across = closed.copy()
        for members in _same_trainings([[seeds] for seeds in cell]).values():
            methods, n = np.array([method for method, _ in members]), numbers[members[0][0]]
            own = sum(products[np.ix_(starts[methods] + s, starts[methods] + s)] for s in range(n)) / n
            square = np.ix_(methods, methods)
            across[square] = (n * closed[square] - own) / (n - 1)
        means = np.array([float(np.mean(_run_means(seeds))) / unit for seeds in cell])
        df = np.array([min(len(run.scores) for run in seeds) - 1.0 for seeds in cell])
        return cls(means, closed, across, same, df)

    def of_differences(self) -> tuple[Floats, Floats]:
        """Return the part (k, k) of the variances of differences that is not in the spread of seeds, and its df."""
        own = np.maximum(0.0, np.diag(self.across))
        welch = _satterthwaite(_sums(own), _sums(own**2 / self.df), np.ones_like(self.closed))
        paired = np.minimum(self.df[:, None], self.df[None, :])
        return np.maximum(0.0, _of_differences(self.across)), np.where(self.same, paired, welch)


def _same_trainings(methods: Sequence[Sequence[Seeds]]) -> dict[Hashable, list[tuple[int, int]]]:
    """Group (method, cell) by the trained models that were measured there, where these are several."""
    found: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for method, cells in enumerate(methods):
        for cell, seeds in enumerate(cells):
            weights = tuple(run.weights for run in seeds)
            if len(seeds) > 1:
                found[weights if all(weights) else (method, cell)].append((method, cell))
    return found


@dataclass(frozen=True, eq=False)
class _Spread:
    """What the spread of seeds adds to the variance of k means, and how certain that is.

    Attributes:
        own: (k,) part of the variance of each mean; 0 with a single seed everywhere.
        below: (k,) sum over what it is made of of (variance squared) / (degrees of freedom).
        paired, paired_below: (k, k) what to add for the difference of two methods of the same trained models, which
            vary together.
    """

    own: Floats
    below: Floats
    paired: Floats
    paired_below: Floats

    @classmethod
    def of(cls, methods: Sequence[Sequence[Seeds]], unit: float = 1.0) -> _Spread:
        size, cells = len(methods), len(methods[0])
        found = cls(np.zeros(size), np.zeros(size), np.zeros((size, size)), np.zeros((size, size)))
        for members in _same_trainings(methods).values():
            sums: dict[int, Floats] = defaultdict(lambda: np.zeros(1))
            for method, cell in members:
                sums[method] = sums[method] + _run_means(methods[method][cell]) / unit / cells
            found._add(np.array(list(sums)), np.stack(list(sums.values())))
        return found

    def _add(self, methods: NDArray[np.int64], sums: Floats) -> None:
        """Add the part of one group of trained models: sums (methods, n) of the cells' means by seed."""
        n = sums.shape[1]
        centred = sums - sums.mean(1, keepdims=True)
        products = centred @ centred.T / (n - 1) / n
        own = np.diag(products)
        self.own[methods] += own
        self.below[methods] += own**2 / (n - 1)
        if len(methods) > 1:
            square, apart = np.ix_(methods, methods), ~np.eye(len(methods), dtype=bool)
            together = np.maximum(0.0, _of_differences(products))
            self.paired[square] -= apart * 2 * products
            self.paired_below[square] += apart * (together**2 - _sums(own**2)) / (n - 1)

    def of_differences(self) -> tuple[Floats, Floats]:
        """Return the part (k, k) of the variances of differences, and its sum as in `below`."""
        below = np.maximum(0.0, _sums(self.below) + self.paired_below)
        return np.maximum(0.0, _sums(self.own) + self.paired), below


def _run_means(seeds: Seeds) -> Floats:
    return np.array([math.fsum(run.scores.merits) / len(run.scores) for run in seeds])


def _sums(own: Floats) -> Floats:
    """Return the sums (k, k) of every two of (k,)."""
    sums: Floats = own[:, None] + own[None, :]
    return sums


def _of_differences(products: Floats) -> Floats:
    """Return the variances (k, k) of differences from the covariances (k, k)."""
    differences: Floats = _sums(np.diag(products)) - 2 * products
    return differences


def _satterthwaite(variance: Floats, below: ArrayLike, otherwise: ArrayLike) -> Floats:
    """Return the degrees of freedom of a sum of independent variances (Satterthwaite 1946)."""
    below = np.asarray(below, dtype=np.float64)
    df: Floats = np.divide(np.square(variance), below, out=np.array(otherwise, dtype=np.float64), where=below > 0)
    return df


def _caution(variance: Floats, df: Floats) -> Floats:
    """Return how large a variance may well be that is estimated with so many degrees of freedom."""
    from scipy.special import chdtri

    result, some = np.zeros_like(variance), variance > 0
    result[some] = variance[some] * df[some] / chdtri(df[some], 1 - _LUCK)
    return result


def _p_values(gaps: Floats, variances: Floats, df: Floats) -> Floats:
    """Return two-sided p-values (k, k) of symmetric variances; 1 on the diagonal."""
    from scipy.special import stdtr  # scipy.stats takes ten times as long to import

    p, above = np.ones_like(gaps), np.triu_indices(len(gaps), 1)
    gap, variance, freedom = gaps[above], variances[above], df[above]
    varies = variance * (freedom + 1) > _ROUNDING
    t = np.divide(gap, np.sqrt(variance), out=np.zeros_like(gap), where=varies)
    same = np.where(np.abs(gap) < 1e-9, 1.0, np.exp2(-np.minimum(freedom, 1000)))
    p[above] = np.where(varies, 2 * stdtr(freedom, -np.abs(t)), same)
    p.T[above] = p[above]
    return p
