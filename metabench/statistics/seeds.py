"""Runs that differ in the seed of their training: their spread, and an interval that holds for another training.

Seeds come first: a training draws a model, the episodes only examine it (statistics of few training runs: Agarwal et
al. 2021, NeurIPS, Deep reinforcement learning at the edge of the statistical precipice).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metabench.registry.metric import Metric
from metabench.statistics.class_jackknife import class_level
from metabench.statistics.episode_scores import EpisodeScores, metric_of, score_of
from metabench.statistics.means import Estimate, mean_over_cells, total_variance
from metabench.statistics.shared_episodes import Run
from metabench.statistics.summary import within
from metabench.utils.hashing import canonical_json


@dataclass(frozen=True)
class OverSeeds:
    """Runs of one method in one cell that differ in nothing but the training seed.

    Attributes:
        records: the runs, by seed.
        score: mean over seeds, in the unit of `metric`.
        seed_sd: sample standard deviation of the score between seeds; None for fewer than two.
        total95: half-width of the 95 % interval for another training and other episodes of this test set.
        total_open95: the same for other classes and images too.
    """

    records: tuple[Mapping[str, Any], ...]
    score: float
    seed_sd: float | None
    total95: float | None
    total_open95: float | None

    @property
    def metric(self) -> Metric:
        """What the scores are."""
        return metric_of(self.records[0]["scores"])

    @property
    def seeds(self) -> int:
        """Number of trainings; 0 where nothing was trained."""
        return len(self.records) if _seed(self.records[0]) is not None else 0


def over_seeds(records: Iterable[Mapping[str, Any]]) -> list[OverSeeds]:
    """Group the records that have scores by everything but the training seed, in the order of first appearance."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        if record["status"] == "ok":
            inputs, training = record["inputs"], record["inputs"]["training"]
            metric = asdict(metric_of(record["scores"]))
            rest = training and {name: value for name, value in training.items() if name != "seed"}
            groups[canonical_json({**inputs, "training": rest, "metric": metric})].append(record)
    return [_summarise(sorted(group, key=lambda record: _seed(record) or 0)) for group in groups.values()]


def _seed(record: Mapping[str, Any]) -> int | None:
    seed = (record["inputs"]["training"] or {}).get("seed")
    return seed if isinstance(seed, int) else None


def _summarise(runs: Sequence[Mapping[str, Any]]) -> OverSeeds:
    """Summarise the runs of one group, with the variance over trainings and episodes of `means`."""
    means = np.array([score_of(run) for run in runs])
    score = float(means.mean())
    if len(runs) == 1:
        summary = runs[0]["summary"]
        trained = _seed(runs[0]) is not None  # one training tells nothing of another
        widths = (None, None) if trained else (summary["ci95"], summary["open95"])
        return OverSeeds(tuple(runs), score, None, *widths)
    sd, measured = float(means.std(ddof=1)), tuple(map(Run.of, runs))
    total = mean_over_cells([measured])
    closed = None if total is None else total.half_width
    return OverSeeds(tuple(runs), score, sd, closed, _open_half_width(sd, measured, closed))


def _open_half_width(sd: float, runs: Sequence[Run], closed: float | None) -> float | None:
    """The half-width for other classes too: the spread of the seeds and the open variance of their mean score.

    It is at least the closed one, whose part of the episodes may have fewer degrees of freedom than the open part.

    The sums by class are over all episodes of a run, so there is none where seeds met different ones.
    """
    scores = [run.scores for run in runs]
    if not all(scores[0].paired(each) for each in scores):
        return None
    mean = EpisodeScores.mean(scores)
    found = None if mean.classes is None else class_level(mean.values, *mean.classes)
    if found is None:
        return None
    between, df = sd**2 / len(runs), len(runs) - 1
    variance, freedom = total_variance(between, between**2 / df, found.sampling + found.data, found.df, 0.0)
    half = Estimate(mean.values.mean(), float(variance), float(freedom)).half_width
    return None if half is None else within(max(half, closed or 0.0), float(mean.values.mean()), mean.metric.ends)
