"""Means over seeds and cells, and the differences of two: variances and degrees of freedom.

A training draws a model, the episodes only examine it. For the runs of one method in one cell, the seeds s = 1 .. n
with means m_s, the variance of their mean over other trainings and other episodes is

    S² / n  +  mean over pairs of seeds of Cov(m_s, m_r),

where S² is the sample variance of the m_s and Cov the covariance over drawing episodes (`shared_episodes.covariances`):
the spread between seeds holds the noise that each has of its own and lacks only what they have in common, shared
episodes' luck. Both are unbiased, whatever lengths the seeds have, and nothing counts twice. For the difference of
methods A and B it is the S² / n of both, and of the covariances the means within A and within B less twice that between
them. `total_variance` has the degrees of freedom.

With one seed the spread is unknown. Such a mean stands for its one trained model, as one without training does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metabench.statistics.episode_scores import Floats
from metabench.statistics.mean_moments import Moments, Seeds, Spread, difference_variances
from metabench.statistics.student_t import satterthwaite, t_quantile, two_sided_p
from metabench.statistics.summary import summarise
from metabench.statistics.total_variance import Estimate, total_variance

_ROUNDING = 1e-13
"""Variances of scores in [-1, 1] below this are rounding."""


def is_rankable(seeds: Seeds) -> bool:
    """Return whether every run has at least two episodes: a single one has no spread."""
    return all(len(run.scores) > 1 for run in seeds)


def mean_over_cells(cells: Sequence[Seeds]) -> Estimate | None:
    """Return the mean over cells of one method's means over seeds; None where a cell has a single episode.

    The cells are those of a suite, no sample of anything: what varies is the episodes within each and the trainings.
    Cells that were measured with the same trained models are averaged seed by seed.
    """
    if not all(map(is_rankable, cells)):
        return None
    moments, spread = [Moments.of([seeds]) for seeds in cells], Spread.of([cells])
    count, sign = len(cells), cells[0][0].scores.metric.sign
    across, closed, df = np.array([[m.across[0, 0], m.closed[0, 0], m.df[0]] for m in moments]).T
    constant = np.array([_constant_variance(seeds) for seeds in cells])
    across, closed = across + constant, closed + constant
    shared = np.maximum(0.0, across) / count**2
    shared_df = satterthwaite(shared.sum(), (shared**2 / df).sum(), df.min())
    variance, freedom = total_variance(spread.own[0], spread.below[0], shared.sum(), shared_df, closed.sum() / count**2)
    return Estimate(sign * float(np.mean([m.means[0] for m in moments])), float(variance), float(freedom))


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
        moments = Moments.of(cell, unit)
        gaps += (moments.means[:, None] - moments.means[None, :]) / count
        part, df = moments.of_differences()
        shared += part / count**2
        below += (part / count**2) ** 2 / df
        closed += difference_variances(moments.closed) / count**2
        least = np.minimum(least, df)
    between, uncertainty = Spread.of(methods, unit).of_differences()
    variances, df = total_variance(between, uncertainty, shared, satterthwaite(shared, below, least), closed)
    return unit * gaps, _p_values(gaps, variances, df)


def _p_values(gaps: Floats, variances: Floats, df: Floats) -> Floats:
    """Return two-sided p-values (k, k) of symmetric variances; 1 on the diagonal."""
    p, above = np.ones_like(gaps), np.triu_indices(len(gaps), 1)
    gap, variance, freedom = gaps[above], variances[above], df[above]
    varies = variance * (freedom + 1) > _ROUNDING
    t = np.divide(gap, np.sqrt(variance), out=np.zeros_like(gap), where=varies)
    same = np.where(np.abs(gap) < 1e-9, 1.0, np.exp2(-np.minimum(freedom, 1000)))
    p[above] = np.where(varies, two_sided_p(t, freedom), same)
    p.T[above] = p[above]
    return p
