"""Which method is better over many data sets, where each data set is one observation (Demsar 2006, JMLR 7:1-30)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.comparison import holm
from metabench.rng import Stream, below

Floats = NDArray[np.float64]

RESAMPLES = 10_000
FEW_DATASETS = 10
"""Below this many data sets the normal approximations and the bootstrap are rough; a note says so."""


@dataclass(frozen=True)
class PairAcross:
    """Method A against method B over the data sets.

    Attributes:
        first, second: positions of A and B among the methods.
        mean: mean over data sets of A's score minus B's, in the unit of the scores.
        low, high: 95 % interval of `mean`, from resampling data sets.
        wins, ties, losses: data sets on which A is better, equal, worse.
        p_wilcoxon: two-sided p-value of the signed-rank test; p_holm: the same adjusted over all pairs.
        nemenyi: whether the mean ranks differ by more than the critical difference.
    """

    first: int
    second: int
    mean: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p_wilcoxon: float
    p_holm: float
    nemenyi: bool


@dataclass(frozen=True)
class Ranking:
    """Methods over data sets.

    Attributes:
        datasets: number of data sets.
        mean_ranks: mean rank of each method, 1 the best; equal scores share the mean of their ranks.
        chi2: Friedman's statistic without a correction for ties; f: Iman and Davenport's, from it.
        chi2_ties, p_friedman: Friedman's statistic with the correction, and its p-value.
        p_f: p-value of `f`.
        critical_difference: of the mean ranks, Nemenyi at 5 %.
        pairs: every pair of methods.
        note: what a reader must know, else empty.
    """

    datasets: int
    mean_ranks: tuple[float, ...]
    chi2: float
    chi2_ties: float
    p_friedman: float
    f: float
    p_f: float
    critical_difference: float
    pairs: tuple[PairAcross, ...]
    note: str = ""


def rank_methods(scores: ArrayLike, alpha: float = 0.05, higher_is_better: bool = True) -> Ranking:
    """Rank k methods by their scores on N data sets.

    Args:
        scores: (N, k), N >= 2 and k >= 2.
        alpha: level of the critical difference.
        higher_is_better: which way the scores are better; means are in their unit, A minus B, all the same.

    Raises:
        ValueError: fewer data sets or methods, or a score that is not a number.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError("ranking needs a table of numbers with at least two data sets and two methods")
    n, k = table.shape
    sign = 1 if higher_is_better else -1
    ranks = mean_ranks(sign * table)
    chi2, chi2_ties = friedman(sign * table)
    f = (n - 1) * chi2 / (n * (k - 1) - chi2) if n * (k - 1) - chi2 > 1e-9 else math.inf
    width = critical_difference(k, n, alpha)
    from scipy.special import chdtrc, fdtrc

    p_f = float(fdtrc(k - 1, (k - 1) * (n - 1), f)) if math.isfinite(f) else 0.0
    note = f"only {n} data sets: a rough guide" if n < FEW_DATASETS else ""
    p_friedman = float(chdtrc(k - 1, chi2_ties))
    pairs = _pairs(table, ranks, width, sign)
    return Ranking(n, tuple(map(float, ranks)), chi2, chi2_ties, p_friedman, f, p_f, width, pairs, note)


def mean_ranks(scores: Floats) -> Floats:
    """Return the mean over rows of (N, k) of each column's rank, 1 for the largest, ties sharing their ranks."""
    above = (scores[:, None, :] > scores[:, :, None]).sum(2)
    equal = (scores[:, None, :] == scores[:, :, None]).sum(2)
    ranks: Floats = (above + (equal + 1) / 2).mean(0)
    return ranks


def friedman(scores: Floats) -> tuple[float, float]:
    """Return Friedman's chi-squared statistic of (N, k) scores, without and with the correction for ties."""
    n, k = scores.shape
    ranks = mean_ranks(scores)
    chi2 = 12 * n / (k * (k + 1)) * (float(ranks @ ranks) - k * (k + 1) ** 2 / 4)
    sizes = [count for row in scores for count in np.unique(row, return_counts=True)[1].tolist()]
    correction = 1 - sum(size**3 - size for size in sizes) / (n * k * (k * k - 1))
    chi2 = max(0.0, chi2)
    return chi2, chi2 / correction if correction > 0 else 0.0


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks of `methods` on `datasets`."""
    return range_quantile(1 - alpha, methods) * math.sqrt(methods * (methods + 1) / (12 * datasets))


def range_quantile(level: float, k: int) -> float:
    """Return the `level` quantile of the range of k standard normal values (studentised, infinitely many df).

    P(range <= q) is k times the integral of phi(z) (Phi(z) - Phi(z - q))^(k-1): the trapezoid rule is exact to
    rounding for so smooth a function, and bisection a hundred times faster than scipy's general quantile.
    """
    from scipy.special import ndtr

    z = np.linspace(-9, 9, 1801)
    density = k * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        below_it = float(density @ (ndtr(z) - ndtr(z - middle)) ** (k - 1)) < level
        low, high = (middle, high) if below_it else (low, middle)
    return (low + high) / 2


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the signed-rank test; 1 where no difference is observed."""
    from scipy.stats import wilcoxon as test

    d = np.asarray(differences, dtype=np.float64)
    return float(test(d).pvalue) if d.any() else 1.0


def _pairs(table: Floats, ranks: Floats, width: float, sign: int) -> tuple[PairAcross, ...]:
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    words = Stream(["bootstrap over data sets", len(table)], len(table)).words(0, RESAMPLES)
    drawn = below(words, len(table))
    raw = [wilcoxon((table[:, a] - table[:, b]).tolist()) for a, b in pairs]
    found = []
    for (a, b), p, adjusted in zip(pairs, raw, holm(raw), strict=True):
        d = table[:, a] - table[:, b]
        low, high = np.quantile(d[drawn].mean(1), [0.025, 0.975])
        counts = (int((sign * d > 0).sum()), int((d == 0).sum()), int((sign * d < 0).sum()))
        apart = bool(abs(ranks[a] - ranks[b]) > width)
        found.append(PairAcross(a, b, float(d.mean()), float(low), float(high), *counts, p, adjusted, apart))
    return tuple(found)
