"""A paired difference, an unpaired one, and many at once."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from metabench.statistics.multiple_testing import holm
from metabench.statistics.pairwise_tests import NO_DIFFERENCE, Difference, compare_runs, compare_scores
from tests.raw_data import needs_raw_data, raw_scores
from tests.record_factory import make_record

COUNTS = arrays.arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 75))


def _raw(dataset: str, backbone: str, shot: int = 1, first: str = "LR", second: str = "NCC", **how: bool) -> Difference:
    a, b = (raw_scores()[dataset, backbone, name, shot] for name in (first, second))
    return compare_scores(a, b, how.get("paired", True))


@pytest.mark.realdata
@needs_raw_data
@pytest.mark.parametrize(
    ("dataset", "backbone", "episodes", "mean", "half"),
    [
        ("dtd", "clip", 82, 4.3902, 2.9316),
        ("aircraft", "clip", 145, 3.1724, 2.3431),
        ("cub", "clip", 175, 1.9429, 1.6523),
        ("vgg_flower", "dinov2", 118, 0.0, 0.4767),
    ],
)
def test_the_paired_vectors(dataset: str, backbone: str, episodes: int, mean: float, half: float) -> None:
    found = _raw(dataset, backbone)
    assert (found.episodes, found.method, found.note) == (episodes, "paired-t", "")
    assert found.mean == pytest.approx(mean, abs=5e-5)
    assert found.ci95 == pytest.approx(half, abs=5e-5)


@pytest.mark.realdata
@needs_raw_data
def test_the_p_values_of_the_first_vector() -> None:
    assert _raw("dtd", "clip").p == pytest.approx(0.003808, abs=5e-7)
    welch = _raw("dtd", "clip", paired=False)
    assert (welch.p, welch.method) == (pytest.approx(0.15606, abs=5e-6), "welch")


@pytest.mark.realdata
@needs_raw_data
def test_equal_rows_are_no_difference_observed() -> None:
    found = _raw("cub", "dinov2")
    assert found == Difference(0.0, None, 1.0, 175, "identical", 0.5, NO_DIFFERENCE)


@pytest.mark.realdata
@needs_raw_data
def test_pairing_separates_what_welch_does_not() -> None:
    """The full set has 302 paired and 174 unpaired of 439; this is the part of it that is at hand."""
    scores, paired, unpaired, total = raw_scores(), 0, 0, 0
    cells = sorted({(dataset, backbone, shot) for dataset, backbone, _, shot in scores})
    for dataset, backbone, shot in cells:
        names = sorted(name for d, b, name, s in scores if (d, b, s) == (dataset, backbone, shot))
        for first, second in itertools.combinations(names, 2):
            a, b = (scores[dataset, backbone, name, shot] for name in (first, second))
            if np.array_equal(a, b):
                continue
            total += 1
            paired += compare_scores(a, b, True).p < 0.05
            unpaired += bool(
                abs(a.mean() - b.mean()) > 1.96 * math.hypot(*(x.std(ddof=1) / len(x) ** 0.5 for x in (a, b)))
            )
    assert (total, paired, unpaired) == (116, 43, 5)


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_tests_are_those_of_scipy(a: np.ndarray, random: object) -> None:
    b = np.roll(a, 1) // 2
    d = a - b
    if np.ptp(d) > 0:
        found, expected = (
            compare_scores(a / 0.75, b / 0.75, True),
            scipy.stats.ttest_rel(a, b),
        )
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        low, high = expected.confidence_interval(0.95)
        assert found.ci95 == pytest.approx(100 / 75 * (high - low) / 2)
        assert found.mean == pytest.approx(100 / 75 * (high + low) / 2)
    if np.ptp(a) > 0:
        found, expected = (
            compare_scores(a / 0.75, b / 0.75, False),
            scipy.stats.ttest_ind(a, b, equal_var=False),
        )
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        low, high = expected.confidence_interval(0.95)
        assert found.ci95 == pytest.approx(100 / 75 * (high - low) / 2)
        u = scipy.stats.mannwhitneyu(a, b).statistic
        assert found.a_beats_b == pytest.approx(u / (len(a) * len(b)))


def test_the_chance_to_win_counts_ties_half() -> None:
    assert compare_scores(25 * np.array([3, 2, 1, 1]), 25 * np.array([1, 2, 2, 0]), True).a_beats_b == 0.625
    assert compare_scores(25 * np.array([3, 2, 1, 1]), 25 * np.array([1, 2, 2, 0]), True).note == "few episodes"


@pytest.mark.parametrize("paired", [True, False])
def test_swapping_changes_signs_only(paired: bool) -> None:
    a, b = np.arange(40) % 7, np.arange(40) % 5
    one, two = (
        compare_scores(100 * np.array(a) / 7, 100 * np.array(b) / 7, paired),
        compare_scores(100 * np.array(b) / 7, 100 * np.array(a) / 7, paired),
    )
    assert (one.mean, one.ci95, one.p) == pytest.approx((-two.mean, two.ci95, two.p))
    assert one.a_beats_b == pytest.approx(1 - two.a_beats_b)


def test_a_constant_difference_has_no_interval_but_a_p_value() -> None:
    found = compare_scores(20 * np.array([5] * 10), 20 * np.array([4] * 10), True)
    assert (found.mean, found.ci95, found.p, found.a_beats_b) == (20.0, None, 2.0**-9, 1.0)
    assert found.note == "every episode differs by the same amount"
    apart = compare_scores(20 * np.array([5] * 3), 20 * np.array([4] * 3), False)
    assert (apart.mean, apart.ci95, apart.p) == (20.0, None, pytest.approx(0.1))
    same = compare_scores(20 * np.array([5] * 3), 20 * np.array([5] * 4), False)
    assert (same.p, same.note) == (1.0, NO_DIFFERENCE)


@pytest.mark.parametrize("paired", [True, False])
def test_one_episode_shows_nothing(paired: bool) -> None:
    found = compare_scores(20 * np.array([5]), 20 * np.array([4]), paired)
    assert (found.mean, found.ci95, found.p, found.note) == (20.0, None, 1.0, "one episode")


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="same episodes"):
        compare_scores(20 * np.array([1, 2]), 20 * np.array([1]), True)
    with pytest.raises(ValueError, match="non-empty"):
        compare_scores(20 * np.array([]), 20 * np.array([]), True)


def test_records_are_paired_by_the_digest_of_their_episodes() -> None:
    a, b = make_record((75, 74, 75, 72)), make_record((70, 71, 74, 72), algorithm__name="matching-net")
    found = compare_runs(a.run, b.run)
    assert (found.method, found.episodes) == ("paired-t", 4)
    other = make_record((70, 71, 74, 72), algorithm__name="matching-net", episodes_digest="ef" * 32)
    found = compare_runs(a.run, other.run)
    assert found.method == "welch"
    assert "not paired" in found.note


def test_records_of_one_stream_are_paired_on_what_both_met() -> None:
    """As where each stopped by its own width: the episodes of the shorter one are the first of the longer."""
    rng = np.random.default_rng(2)
    scores = rng.integers(20, 60, 70)
    a, b = (
        make_record((scores + 2).tolist()),
        make_record(
            (scores + rng.integers(0, 2, 70))[:60].tolist(), algorithm__name="other", episodes_digest="ef" * 32
        ),
    )
    found = compare_runs(a.run, b.run)
    first = np.array(a.measured.correct[:60]) - np.array(b.measured.correct)
    assert (found.method, found.episodes) == ("paired-t", 60)
    assert found.mean == pytest.approx(first.mean() / 0.75)
    assert found.note == "difference on the first 60 episodes, which both met; the scores are over all of each"
    same = make_record(scores[:60].tolist(), algorithm__name="other", episodes_digest="ef" * 32)
    alike = compare_runs(make_record(scores.tolist()).run, same.run)
    assert (alike.method, alike.note) == ("identical", found.note), "the verdict says the rest"
    apart = compare_runs(a.run, replace(b.run, stream="another"))
    assert apart.method == "welch"
    assert found.ci95 is not None
    assert apart.ci95 is not None
    assert apart.ci95 > 2 * found.ci95


def test_winning_is_over_the_same_episode_or_over_independent_ones() -> None:
    """A is one better in three episodes of four and ten worse in the last."""
    a, b = np.array([21, 41, 61, 80]), np.array([20, 40, 60, 90])
    same, independent = compare_scores(a, b, True), compare_scores(a, b, False)
    assert (same.a_beats_b, same.a_beats_b_over) == (0.75, "same episode")
    assert (independent.a_beats_b, independent.a_beats_b_over) == (9 / 16, "independent episodes")
    downwards = compare_scores(a, b, False, higher_is_better=False)
    assert (downwards.a_beats_b, downwards.a_beats_b_over) == (7 / 16, "independent episodes")


def test_an_open_difference_to_the_far_end_of_the_range_is_left_out() -> None:
    """Three classes in pairs: A minus B is 100 points in two episodes and about none in the others."""
    classes = {"episodes": [3, 3, 2]}
    a = make_record((75, 75, 3, 0), {**classes, "correct": [150, 153, 3]}, protocol__params__way=2)
    b = make_record((0,) * 4, {**classes, "correct": [0] * 3}, protocol__params__way=2, algorithm__name="b")
    for one, two, sign in ((a, b, 1), (b, a, -1)):
        found = compare_runs(one.run, two.run)
        assert found.mean == pytest.approx(sign * 51.0)
        assert found.open95 is None  # it would reach a difference of 100 points the other way


def test_the_open_difference_is_no_narrower_than_the_closed_one() -> None:
    classes = {"episodes": [1] * 10}
    a = make_record((45, 46), {**classes, "correct": [45] * 5 + [46] * 5})
    b = make_record((40, 40), {**classes, "correct": [40] * 10}, algorithm__name="b")
    found = compare_runs(a.run, b.run)
    assert found.open95 == found.ci95 == pytest.approx(scipy.stats.t.ppf(0.975, 1) * 100 / 75 / 2)


def test_a_difference_that_never_varies_has_no_open_width() -> None:
    classes = {"episodes": [4, 4, 4, 4, 2, 2]}
    a = make_record((75,) * 4, {**classes, "correct": [300] * 4 + [150] * 2})
    b = make_record((0,) * 4, {**classes, "correct": [0] * 6}, algorithm__name="b")
    found = compare_runs(a.run, b.run)
    assert (found.mean, found.ci95, found.open95) == (100.0, None, None)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("paired", [True, False])
def test_a_method_ties_with_itself_and_a_point_is_found(paired: bool) -> None:
    """200 repetitions of 2,000 episodes that spread by ten points; the bounds leave three standard deviations."""
    random, ties, found = np.random.default_rng(0), 0, 0
    for _ in range(200):
        p = random.beta(12, 4, (2, 2000))
        a, b = random.binomial(75, p[0]), random.binomial(75, p[0] if paired else p[1])
        ties += compare_scores(a / 0.75, b / 0.75, paired).p > 0.05
        better = a + random.binomial(75 - a, 0.04)  # one in 25 of the wrong quarter: one point
        found += compare_scores(better / 0.75, b / 0.75, paired).p <= 0.05
    assert ties >= 181
    assert found >= 160
