"""Confidence sequences and the rule that stops by them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from metabench.statistics.stopping import (
    BOUNDS,
    StopRule,
    asymptotic_half_widths,
    bernstein_sequence,
    checks,
    closes,
    sequence_margin,
    tightest_rho2,
)

RULE = {"half_width": 0.5, "bound": "asymptotic", "tightest": 1000}


@pytest.mark.parametrize(("t", "low", "high"), [(10, 0, 1), (100, 0.323014, 0.678869), (1000, 0.435772, 0.564080)])
def test_the_bernstein_vectors_of_alternating_scores(t: int, low: float, high: float) -> None:
    found_low, found_high = bernstein_sequence(np.arange(1000) % 2 * 1.0)
    assert (found_low[t - 1], found_high[t - 1]) == (pytest.approx(low, abs=5e-7), pytest.approx(high, abs=5e-7))


def test_the_bernstein_vector_of_constant_scores() -> None:
    low, high = bernstein_sequence(np.full(600, 0.6))
    assert (low[-1], high[-1]) == (pytest.approx(0.587472, abs=5e-7), pytest.approx(0.612399, abs=5e-7))


@pytest.mark.parametrize(("t", "margin"), [(100, 0.303512), (600, 0.123908), (2000, 0.067867), (10_000, 0.030351)])
def test_the_asymptotic_vectors(t: int, margin: float) -> None:
    rho2 = tightest_rho2(t)
    assert sequence_margin(t, rho2) == pytest.approx(margin, abs=5e-7)
    assert sequence_margin(t, rho2) / (1.959964 / t**0.5) == pytest.approx(1.5485, abs=1e-4)
    for other in (0.8 * t, 1.25 * t):  # nowhere else as tight at t
        assert sequence_margin(t, tightest_rho2(int(other))) > sequence_margin(t, rho2)


def test_rho2() -> None:
    assert tightest_rho2(100) == pytest.approx(0.08211968, abs=5e-9)
    assert tightest_rho2(600) == pytest.approx(0.01368661, abs=5e-9)


def test_both_sequences_cover_the_mean_at_all_times() -> None:
    """300 walks of 2,000 episodes each, looked at after every episode from the hundredth on."""
    random = np.random.default_rng(0)
    missed = dict.fromkeys(BOUNDS, 0)
    for _ in range(300):
        x = random.binomial(75, random.beta(12, 4, 2000)) / 75
        mean, t = np.cumsum(x) / np.arange(1, 2001), np.arange(100, 2000)
        low, high = bernstein_sequence(x)
        missed["bernstein"] += bool(((low > 0.75) | (high < 0.75)).any())
        missed["asymptotic"] += bool((np.abs(mean - 0.75) > asymptotic_half_widths(x, 1000))[t].any())
    assert missed["bernstein"] <= 27  # 5 % of 300 is 15, and this is three standard deviations more
    assert missed["asymptotic"] <= 27


def test_the_checks_do_not_depend_on_the_cap() -> None:
    every = list(checks(100_000))
    assert every[:3] == [100, 200, 300]
    assert all(t % 100 == 0 for t in every)
    assert all(a < b <= max(a + 100, 1.02 * a + 100) for a, b in itertools.pairwise(every))
    assert list(checks(5_000)) == [t for t in every if t <= 5_000]
    assert list(checks(99)) == []
    assert len(list(checks(1_000_000))) < 1000


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_rule_stops_at_the_first_check_that_is_narrow_enough(bound: str) -> None:
    random = np.random.default_rng(1)
    correct = random.binomial(75, 0.9, 60_000)
    rule = StopRule.aimed(0.5, bound, 100_000)
    end = rule.reached(np.array(correct) / 75)
    assert end is not None
    widths = rule.half_widths(np.array(correct) / 75)
    assert widths[end - 1] <= 0.5
    assert all(widths[t - 1] > 0.5 for t in checks(end - 1))
    assert rule.reached(np.array(correct[:end]) / 75) == end
    assert rule.reached(np.array(correct[: end - 1]) / 75) is None


def test_perfect_scores_do_not_stop_at_once() -> None:
    end = StopRule.aimed(0.2, "asymptotic", 100_000).reached(np.ones(2000))
    assert end is not None
    assert end > 200


def test_a_rule_knows_the_runs_it_ends() -> None:
    rule = StopRule(2.0, "asymptotic", 300)
    correct = np.random.default_rng(2).binomial(75, 0.8, 2000).tolist()
    end = rule.reached(np.array(correct) / 75)
    assert end is not None
    assert closes(rule, np.array(correct[:end]) / 75, 2000)
    assert not closes(rule, np.array(correct[: end + 1]) / 75, 2000)
    assert not closes(rule, np.array(correct[: end - 1]) / 75, 2000)
    assert closes(rule, np.array(correct[: end - 1]) / 75, end - 1)


def test_the_aim_follows_the_target() -> None:
    assert StopRule.aimed(0.2, "asymptotic", 10**6).tightest == 23_028
    assert StopRule.aimed(0.2, "asymptotic", 5000).tightest == 5000
    assert StopRule.aimed(50, "asymptotic", 5000).tightest == 100
