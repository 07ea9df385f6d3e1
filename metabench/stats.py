"""What a row of per-episode scores says, and how sure that is.

The interval here is the *closed* one (Lafargue et al. 2024, arXiv 2409.02850): episodes are drawn again and
again from one fixed test set, so it covers the sampler's randomness and says nothing about new data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEW_EPISODES = 30
"""Below this many episodes the t interval leans on near-normal scores; the summary then says so."""


@dataclass(frozen=True)
class Summary:
    """Mean accuracy and its interval, all in percent.

    Attributes:
        mean: mean accuracy over episodes.
        sd: sample standard deviation (ddof = 1) between episodes; None for one episode.
        ci95: half-width of the interval in percentage points; None for one episode.
        low: lower end, never below 0; None for one episode.
        high: upper end, never above 100; None for one episode.
        kind: ``closed-t``, ``clopper-pearson`` where episodes do not differ, ``none`` for one episode.
        episodes: number of episodes.
        note: what a reader must know (``at ceiling``, ``few episodes``, ...), else empty.
    """

    mean: float
    sd: float | None
    ci95: float | None
    low: float | None
    high: float | None
    kind: str
    episodes: int
    note: str = ""

    def as_record(self) -> dict[str, Any]:
        """Return the ``summary`` of a record: six decimals, so that it is the same on every machine."""
        return {
            "accuracy": round(self.mean, 6),
            "sd": None if self.sd is None else round(self.sd, 6),
            "ci95": None if self.ci95 is None else round(self.ci95, 6),
            "interval": self.kind,
            "episodes": self.episodes,
            "note": self.note,
        }


def summarise(correct: Sequence[int] | NDArray[np.integer[Any]], n_query: int, level: float = 0.95) -> Summary:
    """Summarise per-episode counts of correct answers.

    Where every episode has the same score, Student's t gives a width of zero. Then all queries are pooled
    and the Clopper-Pearson interval is used (at the ceiling or floor its one bound that is not the score
    itself, at probability ``(1 - level) / 2``). That ignores that the queries of one episode share their
    support set (clustering), so it is too narrow; but it is not zero.

    Args:
        correct: (T,) integers in ``[0, n_query]``, T >= 1.
        n_query: queries in every episode.
        level: coverage of the interval.

    Raises:
        ValueError: no episodes, or counts that are not integers in ``[0, n_query]``.
    """
    counts = _checked(correct, n_query)
    episodes = len(counts)
    # Whole-number sums: the result does not depend on the order of summation.
    total, squares = int(counts.sum()), int((counts * counts).sum())
    mean = 100.0 * total / (episodes * n_query)
    if episodes == 1:
        return Summary(mean, None, None, None, None, "none", 1, "one episode")
    spread = episodes * squares - total * total
    if spread == 0:
        return _pooled(mean, total, episodes, n_query, level)
    sd = 100.0 * math.sqrt(spread / (episodes * (episodes - 1))) / n_query
    half = t_quantile(episodes - 1, level) * sd / math.sqrt(episodes)
    note = "few episodes" if episodes < FEW_EPISODES else ""
    low, high = max(0.0, mean - half), min(100.0, mean + half)
    return Summary(mean, sd, half, low, high, "closed-t", episodes, note)


def running_interval(
    count: int, total: float, sum_of_squares: float, level: float = 0.95
) -> tuple[float, float | None]:
    """Return (mean, half-width) of `count` >= 1 values from their sums, in the unit of the values.

    For the progress line: no scipy, and the t quantile from its expansion around the normal one
    (Abramowitz and Stegun 26.7.5; off by less than 1 % from ten values on). The half-width is None for
    fewer than two values.
    """
    mean = total / count
    if count < 2:
        return mean, None
    variance = max(0.0, (sum_of_squares - total * mean) / (count - 1))
    z, df = NormalDist().inv_cdf(0.5 + level / 2), count - 1
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    return mean, t * math.sqrt(variance / count)


def _checked(correct: Sequence[int] | NDArray[np.integer[Any]], n_query: int) -> NDArray[np.int64]:
    counts = np.asarray(correct)
    if counts.ndim != 1 or counts.size == 0 or counts.dtype.kind not in "iu":
        raise ValueError("per-episode counts must be a non-empty row of integers")
    if n_query < 1 or counts.min() < 0 or counts.max() > n_query:
        raise ValueError(f"per-episode counts must lie in [0, {n_query}]")
    return counts.astype(np.int64)


def _pooled(mean: float, total: int, episodes: int, n_query: int, level: float) -> Summary:
    """The interval where no two episodes differ: Clopper-Pearson over the pooled queries."""
    from scipy.special import betaincinv

    n, tail = episodes * n_query, (1 - level) / 2
    low = 0.0 if total == 0 else 100.0 * float(betaincinv(total, n - total + 1, tail))
    high = 100.0 if total == n else 100.0 * float(betaincinv(total + 1, n - total, 1 - tail))
    note = {0: "at floor", n: "at ceiling"}.get(total, "no variance")
    return Summary(mean, 0.0, max(mean - low, high - mean), low, high, "clopper-pearson", episodes, note)


def t_quantile(df: float, level: float) -> float:
    """Return the quantile of Student's t that leaves ``(1 - level) / 2`` above it."""
    from scipy.special import stdtrit  # scipy.stats takes ten times as long to import

    return float(stdtrit(df, 0.5 + level / 2))
