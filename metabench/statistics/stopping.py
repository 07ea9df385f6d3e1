"""Stopping when the interval is narrow enough: intervals that may be looked at after every episode.

An interval for a fixed number of episodes is too narrow if one stops because of what it shows. A confidence
sequence covers the mean at all times at once, so it still covers where one stops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metabench.statistics.episode_scores import Floats

ALPHA = 0.05
BOUNDS = ("asymptotic", "bernstein")
FIRST_CHECK = CHECK_STEP = 100
_MOST_BET = 0.5  # c of the empirical Bernstein sequence
_EXPECTED_WIDTH = 30.35
"""Half-width in points of the asymptotic sequence after one episode where it is tightest, for episodes that spread by
ten points. It only decides where the sequence of a run is tightest."""


@dataclass(frozen=True)
class StopRule:
    """Stop as soon as the half-width is at most `half_width` percentage points.

    Attributes:
        half_width: the target, in points.
        bound: ``asymptotic`` (narrow; valid for many episodes, as a t interval is) or ``bernstein`` (valid for any
            number of bounded scores, and several times as wide).
        tightest: episodes at which the asymptotic sequence is narrowest; settled before the first score is seen.
    """

    half_width: float
    bound: str
    tightest: int

    @classmethod
    def aimed(cls, half_width: float, bound: str, most_episodes: int) -> StopRule:
        """Return the rule that is tightest about where scores of a usual spread reach `half_width`."""
        expected = (_EXPECTED_WIDTH / half_width) ** 2
        return cls(half_width, bound, int(min(max(expected, FIRST_CHECK), most_episodes)))

    def half_widths(self, shares: ArrayLike) -> Floats:
        """Return the half-width around the mean of the first t shares, in points, for t = 1 .. T.

        Args:
            shares: (T,) share of correct answers in each episode, in [0, 1].
        """
        x = np.asarray(shares, dtype=np.float64)
        if self.bound == "asymptotic":
            return 100.0 * asymptotic_half_widths(x, self.tightest)
        low, high = bernstein_sequence(x)
        mean = np.cumsum(x) / np.arange(1, len(x) + 1)
        return 100.0 * np.maximum(mean - low, high - mean)

    def reached(self, shares: ArrayLike) -> int | None:
        """Return the first check at which the target is reached, None if these shares (T,) do not reach it."""
        widths = self.half_widths(shares)
        return next((t for t in checks(len(widths)) if widths[t - 1] <= self.half_width), None)


def checks(most: int) -> Iterator[int]:
    """Yield the numbers of episodes at which a run may stop: every 100th, later about one in a hundred."""
    t = FIRST_CHECK
    while t <= most:
        yield t
        t = max(t + CHECK_STEP, -(-(101 * t // 100) // CHECK_STEP) * CHECK_STEP)


def bernstein_sequence(x: Floats, alpha: float = ALPHA) -> tuple[Floats, Floats]:
    """Return the predictable-mixture empirical Bernstein sequence (low, high), each (T,), of x in [0, 1].

    Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting, theorem 2; each side at
    ``alpha / 2``. It covers the mean at all times at once with probability at least ``1 - alpha``.
    """
    return _bernstein_below(x, alpha / 2), 1.0 - _bernstein_below(1.0 - x, alpha / 2)


def _bernstein_below(x: Floats, alpha: float) -> Floats:
    t = np.arange(1, len(x) + 1)
    sums = np.cumsum(x)
    variance = (0.25 + np.cumsum((x - (0.5 + sums) / (t + 1)) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])  # what is known when x_t is not
    bets = np.minimum(_MOST_BET, np.sqrt(2 * math.log(1 / alpha) / (t * np.log1p(t) * before)))
    mean_before = np.concatenate([[0.0], (sums / t)[:-1]])
    penalty = (x - mean_before) ** 2 * (-np.log1p(-bets) - bets)
    low = (np.cumsum(bets * x) - math.log(1 / alpha) - np.cumsum(penalty)) / np.cumsum(bets)
    clipped: Floats = np.maximum(0.0, low)
    return clipped


def asymptotic_half_widths(x: Floats, tightest: int, alpha: float = ALPHA) -> Floats:
    """Return the half-widths (T,) of the asymptotic confidence sequence of x in [0, 1].

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Time-uniform central limit theory and asymptotic
    confidence sequences, theorem 2.2. The variance starts at its largest value with the weight of one episode, as in
    the empirical Bernstein sequence, so that a first hundred perfect scores do not look certain.
    """
    t = np.arange(1, len(x) + 1)
    sums = np.cumsum(x)
    squares = np.maximum(0.0, np.cumsum(x * x) - sums**2 / t)
    widths: Floats = np.sqrt((0.25 + squares) / (t + 1)) * sequence_margin(t, tightest_rho2(tightest, alpha), alpha)
    return widths


def sequence_margin(t: ArrayLike, rho2: float, alpha: float = ALPHA) -> Floats:
    """Return the half-width of the asymptotic confidence sequence at `t` observations of unit variance."""
    n = np.asarray(t, dtype=np.float64)
    inner = n * rho2 + 1
    margin: Floats = np.sqrt(2 * inner * np.log(np.sqrt(inner) / alpha) / (n * n * rho2))
    return margin


def tightest_rho2(t: int, alpha: float = ALPHA) -> float:
    """Return the parameter for which `sequence_margin` is smallest at `t`."""
    from scipy.special import lambertw

    return float((-lambertw(-(alpha**2) / math.e, -1).real - 1) / t)


def closes(rule: StopRule, shares: Sequence[float] | Floats, most: int) -> bool:
    """Return whether the run that follows `rule` ends with exactly these shares of correct answers."""
    end = rule.reached(shares)
    return end == len(shares) or (end is None and len(shares) == most)
