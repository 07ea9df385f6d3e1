"""What a row of per-episode scores says, and how sure that is.

Two intervals stand beside each accuracy (Lafargue et al. 2024, arXiv 2409.02850). The *closed* one is about the
sampler: episodes drawn again from this test set. The *open* one is about the data: other classes, other images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.class_level import class_level
from metabench.stopping import StopRule

FEW_EPISODES = 30
"""Below this many episodes the t interval leans on near-normal scores; the summary then says so."""

Counts = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Summary:
    """Mean accuracy and its intervals, all in percent.

    Attributes:
        mean: mean accuracy over episodes.
        sd: sample standard deviation (ddof = 1) between episodes; None for one episode.
        ci95: half-width of the interval in percentage points; None for one episode.
        kind: what `ci95` is: ``closed-t``; ``disjoint-t``, over episodes that share no image;
            ``anytime-asymptotic`` or ``anytime-bernstein`` of a run that stopped by its width;
            ``clopper-pearson`` where episodes do not differ; ``none`` for one episode.
        open95: half-width of the interval for new classes and images; None where the scores cannot tell.
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

    def as_record(self) -> dict[str, Any]:
        """Return the ``summary`` of a record: six decimals, so that it is the same on every machine."""
        return {
            "accuracy": round(self.mean, 6),
            "sd": _rounded(self.sd),
            "ci95": _rounded(self.ci95),
            "interval": self.kind,
            "open95": _rounded(self.open95),
            "episodes": self.episodes,
            "note": self.note,
        }


def summary_of(scores: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Summary:
    """Summarise the ``scores`` of a record whose inputs say ``evaluation``."""
    classes, stop = scores["classes"], evaluation["stop"]
    return summarise(
        scores["correct"],
        scores["n_query"],
        None if classes is None else (classes["episodes"], classes["correct"]),
        evaluation["sampling"],
        None if stop is None else StopRule.from_inputs(stop),
    )


def summarise(
    correct: Counts,
    n_query: int,
    classes: tuple[Counts, Counts] | None = None,
    sampling: str = "closed",
    stop: StopRule | None = None,
) -> Summary:
    """Summarise per-episode counts of correct answers at 95 %.

    Where every episode has the same score, Student's t gives a width of zero. Then the Clopper-Pearson interval is
    used (at the ceiling or floor its one bound that is not the score itself, at 2.5 %): over the pooled queries
    for the closed interval, which ignores that the queries of one episode share their support set (clustering) and
    so is too narrow; with every class as one observation for the open one, which is on the safe side.

    Args:
        correct: (T,) integers in ``[0, n_query]``, T >= 1.
        n_query: queries in every episode.
        classes: for each class of the test set, the episodes it took part in and the correct answers in those.
        sampling: one of `metabench.specs.SAMPLINGS`.
        stop: the rule by which the run ended, if there was one.

    Raises:
        ValueError: no episodes, or counts that are not integers in ``[0, n_query]``.
    """
    counts = _checked(correct, n_query)
    episodes = len(counts)
    # Whole-number sums: the result does not depend on the order of summation.
    total, squares = int(counts.sum()), int((counts * counts).sum())
    mean = 100.0 * total / (episodes * n_query)
    if episodes == 1:
        return Summary(mean, None, None, "none", None, 1, "one episode")
    spread = episodes * squares - total * total
    if spread == 0:
        note = {0: "at floor", episodes * n_query: "at ceiling"}.get(total, "no variance")
        half, kind, sd = _clopper_pearson(mean, episodes * n_query), "clopper-pearson", 0.0
        participants = 0 if classes is None else int(np.count_nonzero(classes[0]))
        open95 = _clopper_pearson(mean, participants) if participants else None
    else:
        note = "few episodes" if episodes < FEW_EPISODES else ""
        sd = 100.0 * math.sqrt(spread / (episodes * (episodes - 1))) / n_query
        half = t_quantile(episodes - 1, 0.95) * sd / math.sqrt(episodes)
        kind = "disjoint-t" if sampling == "open" else "closed-t"
        open95 = _open_half_width(counts, n_query, classes)
    if stop is not None:
        half, kind = float(stop.half_widths(counts, n_query)[-1]), f"anytime-{stop.bound}"
    return Summary(mean, sd, half, kind, open95, episodes, note)


def _open_half_width(counts: NDArray[np.int64], n_query: int, classes: tuple[Counts, Counts] | None) -> float | None:
    if classes is None:
        return None
    scores, totals = (np.asarray(100.0 * np.asarray(row) / n_query, dtype=np.float64) for row in (counts, classes[1]))
    found = class_level(scores, np.asarray(classes[0], dtype=np.int64), totals)
    return None if found is None else t_quantile(found.df, 0.95) * found.standard_error


class RunningMean:
    """Mean and closed interval of counts that keep coming, for the progress line.

    No scipy: the t quantile comes from its expansion around the normal one (Abramowitz and Stegun 26.7.5; off by less
    than 1 % from ten values on).
    """

    def __init__(self, n_query: int) -> None:
        self.count = self._total = self._squares = 0
        self._scale = 100.0 / n_query

    def add(self, correct: NDArray[np.integer[Any]]) -> None:
        """Add the counts of further episodes."""
        counts = correct.astype(np.int64)
        self.count += len(counts)
        self._total += int(counts.sum())
        self._squares += int(counts @ counts)

    @property
    def interval(self) -> tuple[float, float | None]:
        """Mean and half-width, in percent, of at least one count; no half-width for a single one."""
        mean = self._total / self.count
        if self.count < 2:
            return self._scale * mean, None
        variance = max(0.0, (self._squares - self._total * mean) / (self.count - 1))
        z, df = NormalDist().inv_cdf(0.975), self.count - 1
        t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        return self._scale * mean, self._scale * t * math.sqrt(variance / self.count)


def _checked(correct: Sequence[int] | NDArray[np.integer[Any]], n_query: int) -> NDArray[np.int64]:
    counts = np.asarray(correct)
    if counts.ndim != 1 or counts.size == 0 or counts.dtype.kind not in "iu":
        raise ValueError("per-episode counts must be a non-empty row of integers")
    if n_query < 1 or counts.min() < 0 or counts.max() > n_query:
        raise ValueError(f"per-episode counts must lie in [0, {n_query}]")
    return counts.astype(np.int64)


def _clopper_pearson(mean: float, n: int) -> float:
    """Return the larger distance, in points, from `mean` percent of n observations to the ends of the interval."""
    from scipy.special import betaincinv

    hits, tail = mean / 100 * n, 0.025
    low = 0.0 if mean == 0 else 100.0 * float(betaincinv(hits, n - hits + 1, tail))
    high = 100.0 if mean == 100 else 100.0 * float(betaincinv(hits + 1, n - hits, 1 - tail))
    return max(mean - low, high - mean)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def t_quantile(df: float, level: float) -> float:
    """Return the quantile of Student's t that leaves ``(1 - level) / 2`` above it."""
    from scipy.special import stdtrit  # scipy.stats takes ten times as long to import

    return float(stdtrit(df, 0.5 + level / 2))
