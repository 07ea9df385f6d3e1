"""Comparison of methods over many datasets, where every dataset is one observation (Demsar 2006, JMLR 7:1-30)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.statistics.episode_scores import Floats
from metabench.statistics.multiple_testing import holm
from metabench.statistics.rank_distribution import RankSums, rank_sums, squares, widths
from metabench.statistics.student_t import t_quantile

FEW_DATASETS = 10
"""Below this many datasets little can be shown, and the chi-squared p-value is rough; a note says so."""


@dataclass(frozen=True)
class PairAcross:
    """Method A against method B over the datasets.

    Attributes:
        first, second: positions of A and B among the methods.
        mean: mean over datasets of A's score minus B's, in the unit of the scores.
        low, high: 95 % interval of `mean`, Student's t over datasets; None where all datasets differ by the same.
        wins, ties, losses: datasets on which A is better, equal, worse.
        p_wilcoxon: two-sided p-value of the signed-rank test; p_holm: the same adjusted over all pairs.
        nemenyi: whether the mean ranks differ by more than the critical difference, and so much that chance makes the
            largest difference as large with a probability of at most 5 %.
    """

    first: int
    second: int
    mean: float
    low: float | None
    high: float | None
    wins: int
    ties: int
    losses: int
    p_wilcoxon: float
    p_holm: float
    nemenyi: bool


@dataclass(frozen=True)
class Ranking:
    """Methods over datasets.

    Attributes:
        datasets: number of datasets.
        mean_ranks: mean rank of each method, 1 the best; equal scores share the mean of their ranks.
        chi2: Friedman's statistic without a correction for ties.
        chi2_ties, p_friedman: Friedman's statistic with the correction, and its p-value by the chi-squared
            distribution, which is rough for few datasets.
        f: Iman and Davenport's statistic, from `chi2_ties`: that of an analysis of variance on the ranks.
        p_f: p-value of `f`, which is that of `chi2_ties` too, over all arrangements of the ranks on every dataset.
        draws: how many arrangements were drawn for `p_f`; 0 where all were counted.
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
    draws: int
    critical_difference: float
    pairs: tuple[PairAcross, ...]
    note: str = ""


def rank_methods(
    scores: ArrayLike,
    alpha: float = 0.05,
    higher_is_better: bool = True,
    ends: tuple[float, float] | None = None,
) -> Ranking:
    """Rank k methods by their scores on N datasets.

    Args:
        scores: (N, k), N >= 2 and k >= 2.
        alpha: level of the critical difference.
        higher_is_better: which way the scores are better; means are in their unit, A minus B, all the same.
        ends: the range of a difference of scores, beyond which no interval goes; None where there is no known one.

    Raises:
        ValueError: fewer datasets or methods, or a score that is not a number.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError("ranking needs a table of numbers with at least two datasets and two methods")
    from scipy.special import chdtrc

    n, k = table.shape
    ranks = row_ranks(table if higher_is_better else -table)
    chi2, chi2_ties = friedman(table if higher_is_better else -table)
    chance = rank_sums(ranks)
    p_f = float(chance.tail(squares, squares(_doubled_sums(ranks)[None]))[0])
    width = critical_difference(k, n, alpha)
    apart = _apart(ranks, chance, width, alpha)
    note = f"only {n} datasets: a rough guide" if n < FEW_DATASETS else ""
    return Ranking(
        n,
        tuple(map(float, ranks.mean(0))),
        chi2,
        chi2_ties,
        float(chdtrc(k - 1, chi2_ties)),
        iman_davenport(chi2_ties, n, k),
        p_f,
        chance.draws,
        width,
        _pairs(table, apart, 1 if higher_is_better else -1, ends),
        note,
    )


def row_ranks(scores: Floats) -> Floats:
    """Return the ranks (N, k) within each row of scores (N, k), 1 for the largest, ties sharing their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-scores, axis=1))


def mean_ranks(scores: Floats) -> Floats:
    """Return the mean over rows of (N, k) of each column's rank, 1 for the largest, ties sharing their ranks."""
    return np.asarray(row_ranks(scores).mean(0))


def friedman(scores: Floats) -> tuple[float, float]:
    """Return Friedman's chi-squared statistic of (N, k) scores, without and with the correction for ties.

    `scipy.stats.friedmanchisquare` refuses two methods and has the second one only.
    """
    n, k = scores.shape
    ranks = mean_ranks(scores)
    chi2 = 12 * n / (k * (k + 1)) * (float(ranks @ ranks) - k * (k + 1) ** 2 / 4)
    sizes = [count for row in scores for count in np.unique(row, return_counts=True)[1].tolist()]
    correction = 1 - sum(size**3 - size for size in sizes) / (n * k * (k * k - 1))
    chi2 = max(0.0, chi2)
    return chi2, chi2 / correction if correction > 0 else 0.0


def iman_davenport(chi2: float, datasets: int, methods: int) -> float:
    """Return Iman and Davenport's F (1980, Communications in Statistics A9:571-595) from Friedman's chi-squared.

    From the one corrected for ties it is the F of a two-way analysis of variance on the ranks (Conover 1999, section
    5.8); infinite where all datasets rank the methods alike.
    """
    rest = datasets * (methods - 1) - chi2
    return (datasets - 1) * chi2 / rest if rest > 1e-9 else math.inf


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks of `methods` on `datasets`."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - alpha, methods, np.inf))
    return quantile * math.sqrt(methods * (methods + 1) / (12 * datasets))


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the signed-rank test; 1 where no difference is observed."""
    from scipy.stats import wilcoxon as test

    d = np.asarray(differences, dtype=np.float64)
    return float(test(d).pvalue) if d.any() else 1.0


def _doubled_sums(ranks: Floats) -> NDArray[np.int64]:
    sums: NDArray[np.int64] = np.rint(2 * ranks.sum(0)).astype(np.int64)
    return sums


def _apart(ranks: Floats, chance: RankSums, width: float, alpha: float) -> NDArray[np.bool_]:
    """Return which methods (k, k) have mean ranks farther apart than both Nemenyi's difference and chance allow."""
    sums = _doubled_sums(ranks)
    gaps = np.abs(sums[:, None] - sums[None, :])
    return np.asarray((gaps / (2 * len(ranks)) > width) & (chance.tail(widths, gaps) <= alpha))


def _pairs(
    table: Floats, apart: NDArray[np.bool_], sign: int, ends: tuple[float, float] | None
) -> tuple[PairAcross, ...]:
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    raw = [wilcoxon((table[:, a] - table[:, b]).tolist()) for a, b in pairs]
    result = []
    for (a, b), p, adjusted in zip(pairs, raw, holm(raw), strict=True):
        d = table[:, a] - table[:, b]
        counts = (int((sign * d > 0).sum()), int((d == 0).sum()), int((sign * d < 0).sum()))
        interval = _interval(d, ends)
        result.append(PairAcross(a, b, float(d.mean()), *interval, *counts, p, adjusted, bool(apart[a, b])))
    return tuple(result)


def _interval(d: Floats, ends: tuple[float, float] | None) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the mean of differences d (N,) by Student's t; None where they do not vary."""
    mean, error = float(d.mean()), float(d.std(ddof=1)) / math.sqrt(len(d))
    if error <= 1e-12 * float(np.abs(d).max()):
        return None, None
    half = t_quantile(len(d) - 1, 0.95) * error
    lowest, highest = ends or (-math.inf, math.inf)
    return max(lowest, mean - half), min(highest, mean + half)
