"""Tests of two rows of per-episode scores: the difference of their means, its interval and its p-value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from metabench.statistics.episode_scores import EpisodeScores, Floats
from metabench.statistics.shared_episodes import Run
from metabench.statistics.student_t import satterthwaite, t_quantile, two_sided_p
from metabench.statistics.summary import FEW_EPISODES, open_half_width

NO_DIFFERENCE = "no difference observed"
UNPAIRED = "different episodes, so not paired: Welch's test"
PREFIX = "difference on the first {}, which both met; the scores are over all of each"
SAME_EPISODE, INDEPENDENT_EPISODES = "same episode", "independent episodes"
"""Pairs of new episodes of which `Difference.a_beats_b` is the probability."""


@dataclass(frozen=True)
class Difference:
    """A minus B, in the unit of the metric: percentage points for accuracy.

    Attributes:
        mean: mean score of A minus that of B.
        ci95: half-width of the 95 % interval of `mean`; None where the scores give none.
        p: two-sided p-value of "no difference in the mean".
        episodes: episodes behind it (the smaller number where A and B have different ones).
        method: ``paired-t``, ``welch``, or ``identical`` where no episode differs.
        a_beats_b: probability that A is better than B on new episodes; a tie counts half.
        a_beats_b_over: ``same episode`` where both score one new episode, which is what paired scores estimate;
            ``independent episodes`` where each scores one of its own, which is all that unpaired scores tell.
        note: what a reader must know, else empty.
        open95: half-width of the 95 % interval of `mean` for new classes and examples, at most the distance to the
            farther end of the range of differences; None where it is not known.
    """

    mean: float
    ci95: float | None
    p: float
    episodes: int
    method: str
    a_beats_b: float
    note: str = ""
    open95: float | None = None
    a_beats_b_over: str = SAME_EPISODE


def compare_scores(a: ArrayLike, b: ArrayLike, paired: bool, higher_is_better: bool = True) -> Difference:
    """Compare two rows of scores a (T,) and b (T',).

    Args:
        paired: a[i] and b[i] are scores on the same episode (T = T'): Student's t of the differences.
            Otherwise Welch's t with Satterthwaite's degrees of freedom (Welch 1947).
        higher_is_better: what A wins by.

    Raises:
        ValueError: no scores, or paired rows of different lengths.
    """
    first, second = _row(a), _row(b)
    if not paired:
        difference = replace(_welch(first, second), a_beats_b_over=INDEPENDENT_EPISODES)
    elif len(first) != len(second):
        raise ValueError(f"paired scores need the same episodes, not {len(first)} and {len(second)}")
    else:
        difference = _paired(first - second)
    return difference if higher_is_better else replace(difference, a_beats_b=1.0 - difference.a_beats_b)


def compare_runs(first: Run, second: Run) -> Difference:
    """Compare two runs with scores of one metric: paired where they met the same episodes, else Welch with a note.

    Runs of one stream that ended at different episodes are compared on those that both met, and the note says so.

    Raises:
        ValueError: they are of different metrics.
    """
    one, two, shared = first.scores, second.scores, first.shared(second)
    if one.metric != two.metric:
        raise ValueError(f"{one.metric.name} and {two.metric.name} cannot be compared")
    if one.paired(two):
        difference = compare_scores(one.values, two.values, True, one.metric.higher_is_better)
        return replace(difference, open95=_open_half_width(one, two, difference.ci95))
    rows = (one.values[:shared], two.values[:shared]) if shared else (one.values, two.values)
    difference = compare_scores(*rows, shared > 0, one.metric.higher_is_better)
    basis = PREFIX.format("episode" if shared == 1 else f"{shared:,} episodes") if shared else UNPAIRED
    more = "" if difference.note == NO_DIFFERENCE else difference.note  # the verdict says it
    return replace(difference, note="; ".join(filter(None, (basis, more))))


def _open_half_width(one: EpisodeScores, two: EpisodeScores, closed: float | None) -> float | None:
    """Return the class-level half-width of the difference of two rows on the same episodes: no less than `closed`."""
    if one.classes is None or two.classes is None or not np.array_equal(one.classes[0], two.classes[0]):
        return None
    values = one.values - two.values
    if not values.any():
        return None
    classes = one.classes[0], one.classes[1] - two.classes[1]
    return open_half_width(EpisodeScores(values, one.metric, classes=classes), one.metric.difference_ends, closed)


def _row(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError("scores must be a non-empty row of numbers")
    return values


def _paired(d: Floats) -> Difference:
    """Student's t of the differences d (T,), or what can be said where they do not vary."""
    episodes, mean = len(d), math.fsum(d) / len(d)
    wins = float(np.mean(d > 0) + np.mean(d == 0) / 2)
    if not d.any():
        return Difference(0.0, None, 1.0, episodes, "identical", 0.5, NO_DIFFERENCE)
    sem = float(d.std(ddof=1)) / math.sqrt(episodes) if episodes > 1 else 0.0
    if sem <= 1e-12 * abs(mean):  # t would be infinite: the exact sign-flip test instead
        note = "one episode" if episodes == 1 else "every episode differs by the same amount"
        return Difference(mean, None, 2.0 ** (1 - episodes), episodes, "paired-t", wins, note)
    return _student(mean, sem, episodes - 1, episodes, "paired-t", wins)


def _welch(a: Floats, b: Floats) -> Difference:
    mean, wins = math.fsum(a) / len(a) - math.fsum(b) / len(b), _superiority(a, b)
    fewer = min(len(a), len(b))
    if fewer == 1:
        return Difference(mean, None, 1.0, 1, "welch", wins, "one episode")
    parts = [float(x.var(ddof=1)) / len(x) for x in (a, b)]
    variance = sum(parts)
    if variance <= 1e-24 * mean**2:
        if abs(mean) < 1e-9:
            return Difference(0.0, None, 1.0, fewer, "identical", 0.5, NO_DIFFERENCE)
        # Two constants: the permutation test, whose smallest p-value is one over the ways to split the scores.
        ways = math.exp(math.lgamma(len(a) + len(b) + 1) - math.lgamma(len(a) + 1) - math.lgamma(len(b) + 1))
        return Difference(mean, None, min(1.0, 2 / ways), fewer, "welch", wins, "neither varies between episodes")
    uncertainty = sum(part**2 / (len(x) - 1) for part, x in zip(parts, (a, b), strict=True))
    df = float(satterthwaite(variance, uncertainty, 1.0))
    return _student(mean, math.sqrt(variance), df, fewer, "welch", wins)


def _student(mean: float, sem: float, df: float, episodes: int, method: str, wins: float) -> Difference:
    p = float(two_sided_p(mean / sem, df))
    note = "few episodes" if episodes < FEW_EPISODES else ""
    return Difference(mean, t_quantile(df, 0.95) * sem, p, episodes, method, wins, note)


def _superiority(a: Floats, b: Floats) -> float:
    """Return P(A > B) + P(A = B) / 2 over all pairs: the Mann-Whitney U over its maximum."""
    ordered = np.sort(b)
    below, not_above = (np.searchsorted(ordered, a, side) for side in ("left", "right"))
    return float((below.sum() + not_above.sum()) / (2 * len(a) * len(b)))
