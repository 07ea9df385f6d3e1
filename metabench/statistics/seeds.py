"""Several trainings of one method in one cell: their spread, and an interval that holds for another training.

Seeds come first: a training draws a model, the episodes only examine it (statistics of few training runs: Agarwal et
al. 2021, NeurIPS, Deep reinforcement learning at the edge of the statistical precipice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metabench.statistics.class_jackknife import class_level
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.means import mean_over_cells
from metabench.statistics.shared_episodes import Run
from metabench.statistics.summary import within
from metabench.statistics.total_variance import Estimate, total_variance


@dataclass(frozen=True)
class SeedSpread:
    """The spread of the mean scores of at least two trainings.

    Attributes:
        sd: sample standard deviation (ddof = 1) of the mean scores.
        total95: half-width of the 95 % interval of their mean for another training and other episodes of this test set;
            None where the scores give none.
        total_open95: the same for other classes and images too.
    """

    sd: float
    total95: float | None
    total_open95: float | None


def spread_of_seeds(runs: Sequence[Run], means: Sequence[float]) -> SeedSpread:
    """Return the spread of at least two runs of one method in one cell, which differ in the training seed alone.

    The variance over trainings and episodes is that of `metabench.statistics.means`.

    Args:
        means: the mean score of each run, as its record rounds it.
    """
    sd, total = float(np.array(means).std(ddof=1)), mean_over_cells([runs])
    closed = None if total is None else total.half_width
    return SeedSpread(sd, closed, _open_half_width(sd, runs, closed))


def _open_half_width(sd: float, runs: Sequence[Run], closed: float | None) -> float | None:
    """Return the half-width for other classes too: the spread of the seeds and the open variance of their mean score.

    It is at least the closed one, whose part of the episodes may have fewer degrees of freedom than the open part.

    The sums by class are over all episodes of a run, so there is none where seeds met different ones.
    """
    scores = [run.scores for run in runs]
    if not all(scores[0].paired(other) for other in scores):
        return None
    mean = EpisodeScores.mean(scores)
    open_part = None if mean.classes is None else class_level(mean.values, *mean.classes)
    if open_part is None:
        return None
    between, df = sd**2 / len(runs), len(runs) - 1
    variance, freedom = total_variance(between, between**2 / df, open_part.sampling + open_part.data, open_part.df, 0.0)
    half = Estimate(mean.values.mean(), float(variance), float(freedom)).half_width
    return None if half is None else within(max(half, closed or 0.0), float(mean.values.mean()), mean.metric.ends)
