"""Summary of a row of per-episode scores: its mean and two intervals.

Two intervals stand beside each mean score (Lafargue et al. 2024, arXiv 2409.02850). The *closed* one is about the
sampler: episodes drawn again from this test set. The *open* one is about the data: other classes, other images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from metabench.registry.metric import ACCURACY, Metric
from metabench.statistics.class_jackknife import class_level
from metabench.statistics.episode_scores import EpisodeScores, Floats
from metabench.statistics.stopping import StopRule
from metabench.statistics.student_t import t_quantile

FEW_EPISODES = 30
"""Below this many episodes the t interval leans on near-normal scores; the summary then says so."""

_ROUNDING = 1e-12
"""A standard deviation of so small a part of the mean is rounding: all episodes have the same score."""


@dataclass(frozen=True)
class Summary:
    """Mean score and its intervals, all in the unit of the metric: percent for accuracy.

    Attributes:
        mean: mean score over episodes.
        sd: sample standard deviation (ddof = 1) between episodes; None for one episode.
        ci95: half-width of the interval; None for one episode, and where values of a metric do not vary.
        kind: what `ci95` is: ``closed-t``; ``disjoint-t``, over episodes that share no image;
            ``anytime-asymptotic`` or ``anytime-bernstein`` of a run that stopped by its width;
            ``clopper-pearson`` where accuracies do not differ; ``none`` where there is none.
        open95: half-width of the interval for new classes and examples, at most the distance to the farther end of
            the metric's range; None where the scores cannot tell.
        episodes: number of episodes.
        note: what a reader must know (``at ceiling``, ``few episodes``, ...), else empty.
    """

    mean: float
    sd: float | None
    ci95: float | None
    kind: str
    open95: float | None
    episodes: int
    note: str = ""
    metric: Metric = ACCURACY
    parts: tuple[Summary, ...] = ()
    """Of what the scores are made of, see `metabench.registry.specs.ProtocolSpec.parts`."""

    def as_record(self) -> dict[str, Any]:
        """Return the ``summary`` of a record: six decimals, so that it is the same on every machine."""
        return {
            self.metric.name: round(self.mean, 6),
            "sd": _rounded(self.sd),
            "ci95": _rounded(self.ci95),
            "interval": self.kind,
            "open95": _rounded(self.open95),
            "episodes": self.episodes,
            "note": self.note,
            **({"parts": {part.metric.name: part.as_part() for part in self.parts}} if self.parts else {}),
        }

    def as_part(self) -> dict[str, float | None]:
        """Return what a record says of it where it is a part of another score."""
        return {"mean": round(self.mean, 6), "ci95": _rounded(self.ci95)}


def summarise(scores: EpisodeScores, sampling: str = "closed", stop: StopRule | None = None) -> Summary:
    """Summarise the scores of T >= 1 episodes at 95 %.

    Where every episode has the same score, Student's t gives a width of zero. For shares of correct answers the
    Clopper-Pearson interval is then used (at the ceiling or floor its one bound that is not the score itself, at
    2.5 %): over the pooled queries for the closed interval, which ignores that the queries of one episode share their
    support set (clustering) and so is too narrow; with every class as one observation for the open one, which is on
    the safe side. Nothing is known of how values of another metric would vary, so there is no interval.

    Args:
        sampling: one of `metabench.registry.specs.SAMPLINGS`.
        stop: the rule by which the run ended, if there was one; of shares of correct answers.
    """
    episodes, values, metric = len(scores), scores.values, scores.metric
    mean = math.fsum(values) / episodes  # it does not depend on the order of summation
    if episodes == 1:
        return Summary(mean, None, None, "none", None, 1, "one episode", metric)
    sd = math.sqrt(math.fsum((values - mean) ** 2) / (episodes - 1))
    half: float | None
    if sd <= _ROUNDING * abs(mean):
        sd, half, kind, open95, note = 0.0, None, "none", None, "no variance"
        if scores.queries:
            half, kind = _clopper_pearson(mean, scores.queries), "clopper-pearson"
            participants = 0 if scores.classes is None else int(np.count_nonzero(scores.classes[0]))
            open95 = _clopper_pearson(mean, participants) if participants else None
            note = {0.0: "at floor", 100.0: "at ceiling"}.get(mean, note)
    else:
        note = "few episodes" if episodes < FEW_EPISODES else ""
        half = t_quantile(episodes - 1, 0.95) * sd / math.sqrt(episodes)
        kind = "disjoint-t" if sampling == "open" else "closed-t"
        open95 = open_half_width(scores, metric.ends, half)
    if stop is not None:
        half, kind = float(stop.half_widths(values / 100)[-1]), f"anytime-{stop.bound}"
    return Summary(mean, sd, half, kind, open95, episodes, note, metric)


def open_half_width(
    scores: EpisodeScores, ends: tuple[float, float] | None, closed: float | None = None
) -> float | None:
    """Return the half-width of the 95 % interval for new classes and examples; None where the scores cannot tell.

    They cannot either where the interval would reach the far end of the range: it would say nothing.

    Args:
        ends: the range of the mean score; None where there is no known one.
        closed: the half-width for these classes, below which it never is: two or three episodes may leave more
            degrees of freedom to the classes than to themselves.
    """
    if scores.classes is None:
        return None
    variances = class_level(scores.values, *scores.classes)
    if variances is None:
        return None
    half = max(t_quantile(variances.df, 0.95) * variances.standard_error, closed or 0.0)
    return within(half, float(scores.values.mean()), ends)


def within(half: float, mean: float, ends: tuple[float, float] | None) -> float | None:
    """Return the half-width of an interval around a mean; None where it reaches the farther end of the range."""
    return half if half < farthest(mean, ends) else None


def farthest(mean: float, ends: tuple[float, float] | None) -> float:
    """Return the distance from a mean to the farther end of its range, beyond which an interval says nothing more.

    It is infinite where no range is known, or the mean lies outside it.
    """
    if ends is None or not ends[0] <= mean <= ends[1]:
        return math.inf
    return max(mean - ends[0], ends[1] - mean)


class RunningMean:
    """Mean and closed interval of scores that keep coming, for the progress line.

    No scipy: the t quantile comes from its expansion around the normal one (Abramowitz and Stegun 26.7.5; off by less
    than 1 % from ten values on).
    """

    def __init__(self) -> None:
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, scores: Floats) -> None:
        """Add the scores of further episodes (Chan, Golub and LeVeque 1983: no difference of large sums)."""
        if not len(scores):
            return
        total, gap = self.count + len(scores), float(scores.mean()) - self._mean
        self._squares += float(((scores - scores.mean()) ** 2).sum()) + gap**2 * self.count * len(scores) / total
        self._mean += gap * len(scores) / total
        self.count = total

    @property
    def interval(self) -> tuple[float, float | None]:
        """Mean and half-width of at least one score; no half-width for a single one."""
        if self.count < 2:
            return self._mean, None
        z, df = NormalDist().inv_cdf(0.975), self.count - 1
        t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        return self._mean, t * math.sqrt(self._squares / df / self.count)


def _clopper_pearson(mean: float, n: int) -> float:
    """Return the larger distance, in points, from `mean` percent of n observations to the ends of the interval."""
    from scipy.special import betaincinv

    hits, tail = mean / 100 * n, 0.025
    low = 0.0 if mean == 0 else 100.0 * float(betaincinv(hits, n - hits + 1, tail))
    high = 100.0 if mean == 100 else 100.0 * float(betaincinv(hits + 1, n - hits, 1 - tail))
    return max(mean - low, high - mean)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
