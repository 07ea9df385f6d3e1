"""Runs that differ in the seed of their training: their spread, and an interval that holds for another training.

Seeds come first: a training draws a model, the episodes only examine it (statistics of few training runs: Agarwal et
al. 2021, NeurIPS, Deep reinforcement learning at the edge of the statistical precipice).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metabench.class_level import class_level
from metabench.keys import canonical_json
from metabench.scores import EpisodeScores, metric_of, score_of
from metabench.specs import Metric
from metabench.stats import t_quantile


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
    """Summarise the runs of one group.

    The total variance is what resampling first the seeds, then the episodes (or the classes with their images) has in
    the limit: the variance between seeds over their number plus that of the seeds' mean score over the episodes. It
    is computed, not simulated, with the divisor n - 1 that a bootstrap of three seeds would need to be put right by,
    and Satterthwaite's degrees of freedom: with three seeds, two of them nearly all there is.
    """
    means = np.array([score_of(run) for run in runs])
    score = float(means.mean())
    if len(runs) == 1:
        summary = runs[0]["summary"]
        trained = _seed(runs[0]) is not None  # one training tells nothing of another
        widths = (None, None) if trained else (summary["ci95"], summary["open95"])
        return OverSeeds(tuple(runs), score, None, *widths)
    sd, seeds = float(means.std(ddof=1)), len(runs)
    between = (sd**2 / seeds, seeds - 1.0)
    closed, opened = _within(runs)
    return OverSeeds(tuple(runs), score, sd, _half_width(between, closed), opened and _half_width(between, opened))


def _within(runs: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Variance and degrees of freedom of the seeds' mean score: over episodes, and over classes where known.

    Seeds that met different episodes (each stopped by its own width) carry that variance in their spread already.
    """
    scores = [EpisodeScores.of(run["scores"]) for run in runs]
    if not all(scores[0].paired(each) for each in scores):
        return (0.0, 1.0), None
    mean = EpisodeScores.mean(scores)
    if len(mean) < 2:
        return (0.0, 1.0), None
    closed = (float(mean.values.var(ddof=1)) / len(mean), len(mean) - 1.0)
    found = None if mean.classes is None else class_level(mean.values, *mean.classes)
    return closed, None if found is None else (found.sampling + found.data, found.df)


def _half_width(*parts: tuple[float, float]) -> float | None:
    """The half-width from independent variances with their degrees of freedom; None where nothing varies."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return None
    df = total**2 / sum(variance**2 / freedom for variance, freedom in parts)
    return t_quantile(df, 0.95) * math.sqrt(total)
