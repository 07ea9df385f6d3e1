from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from metabench.registry.metric import Metric
from metabench.statistics.class_jackknife import class_level
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.stopping import StopRule
from metabench.statistics.student_t import t_quantile
from metabench.statistics.summary import RunningMean, Summary, farthest, summarise
from tests.raw_data import needs_raw_data, raw_scores


def summary(correct, n_query, classes=None, **how) -> Summary:
    return summarise(EpisodeScores.of_counts(correct, n_query, classes), **how)


def test_a_hand_computed_case() -> None:
    result = summary([1, 2, 3, 4], 10)  # mean 2.5, variance 5/3, t(3) = 3.182446
    assert result.mean == 25.0
    assert result.sd == pytest.approx(12.909944)
    assert result.ci95 == pytest.approx(3.182446305 * 12.909944 / 2)
    assert (result.kind, result.episodes, result.note) == ("closed-t", 4, "few episodes")


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60).filter(lambda row: len(set(row)) > 1))
def test_the_half_width_is_that_of_scipy(row: list[int]) -> None:
    result = summary(row, 20)
    percent = np.array(row) * 5.0
    low, high = scipy_stats.t.interval(0.95, len(row) - 1, percent.mean(), scipy_stats.sem(percent))
    assert result.ci95 == pytest.approx((high - low) / 2)
    assert result.mean == pytest.approx(percent.mean())
    assert summary(row[::-1], 20) == result


def test_one_episode_has_no_interval() -> None:
    result = summary([3], 4)
    assert (result.mean, result.sd, result.ci95, result.kind) == (75.0, None, None, "none")


def test_ceiling_and_floor_have_a_width() -> None:
    top, bottom = summary([25] * 22, 25), summary([0] * 22, 25)
    assert (top.mean, top.kind, top.note) == (100.0, "clopper-pearson", "at ceiling")
    assert 100 - top.ci95 == pytest.approx(100 * 0.025 ** (1 / 550))  # the closed form at the ceiling
    assert bottom.note == "at floor"
    assert bottom.ci95 == pytest.approx(top.ci95)


def test_equal_episodes_off_the_ceiling_use_both_bounds() -> None:
    result = summary([10] * 5, 20)
    exact = scipy_stats.binomtest(50, 100).proportion_ci(0.95, method="exact")
    assert result.note == "no variance"
    assert result.ci95 == pytest.approx(max(50 - 100 * exact.low, 100 * exact.high - 50))


@pytest.mark.parametrize("bad", [[], [1.5, 2.0], [[1, 2]], [-1, 2], [1, 11], ["1"]])
def test_bad_counts_are_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="counts"):
        summary(bad, 10)


def test_small_integer_types_do_not_overflow() -> None:
    wide = np.array([200, 255, 190, 255])
    assert summary(wide.astype(np.uint8), 255) == summary(wide, 255)


def test_the_record_form_is_rounded() -> None:
    assert summary([1, 2, 2], 3).as_record() == {
        "accuracy": 55.555556,
        "sd": 19.245009,
        "ci95": 47.807253,
        "interval": "closed-t",
        "open95": None,
        "episodes": 3,
        "note": "few episodes",
    }


def test_the_open_interval_is_that_of_the_class_level() -> None:
    correct, classes = [3, 4, 5, 2, 4, 1], ([3, 3, 3, 3], [12, 10, 9, 7])
    result, scores = summary(correct, 5, classes), 20.0 * np.array(correct)
    found = class_level(scores, np.array(classes[0]), 20.0 * np.array(classes[1]))
    assert result.open95 == pytest.approx(t_quantile(found.df, 0.95) * found.standard_error)
    assert result.open95 > result.ci95


def test_an_open_interval_to_the_far_end_of_the_range_is_left_out() -> None:
    """Three classes, in whose pairs everything is right or nothing: from 0 to 100 % is no news of an accuracy."""
    correct, classes = [25, 25, 1, 0], ([3, 3, 2], [50, 51, 1])
    result, scores = summary(correct, 25, classes), 4.0 * np.array(correct)
    found = class_level(scores, np.array(classes[0]), 4.0 * np.array(classes[1]))
    assert t_quantile(found.df, 0.95) * found.standard_error > 100
    assert (result.mean, result.open95) == (51.0, None)


def test_values_without_a_range_have_no_bound() -> None:
    sums = np.array([3, 3, 2]), np.array([200.0, 204.0, 4.0])
    values = np.array([100.0, 100.0, 4.0, 0.0])
    bounded = summarise(EpisodeScores(values, Metric("auroc", "%"), classes=sums)).open95
    unbounded = summarise(EpisodeScores(values, Metric("mse", higher_is_better=False), classes=sums)).open95
    assert bounded is None
    assert unbounded is not None
    assert unbounded > 100


def test_the_open_interval_is_no_narrower_than_the_closed_one() -> None:
    """Two episodes leave one degree of freedom, the ten classes in them nine."""
    classes = [1] * 10, [45] * 5 + [46] * 5
    result = summary([45, 46], 75, classes)
    assert result.ci95 == pytest.approx(scipy_stats.t.ppf(0.975, 1) * 100 / 75 / 2)
    assert result.open95 == result.ci95
    assert summary([45, 66], 75, ([1] * 10, [45] * 5 + [66] * 5)).open95 is None  # ± 177.9


@pytest.mark.parametrize(
    ("mean", "ends", "distance"),
    [(20.0, (0.0, 100.0), 80.0), (-30.0, (-100.0, 100.0), 130.0), (101.0, (0.0, 100.0), np.inf), (1.0, None, np.inf)],
)
def test_the_farther_end_of_the_range(mean: float, ends: tuple[float, float] | None, distance: float) -> None:
    assert farthest(mean, ends) == distance


def test_the_open_interval_at_the_ceiling_takes_each_class_for_one_observation() -> None:
    result = summary([25] * 22, 25, ([22, 0, 22, 11, 11], [550, 0, 550, 275, 275]))
    assert 100 - result.open95 == pytest.approx(100 * 0.025 ** (1 / 4))


def test_the_kind_says_how_the_episodes_came_about() -> None:
    correct = [3, 4, 5, 2, 4, 1] * 40
    assert summary(correct, 5, sampling="open").kind == "disjoint-t"
    rule = StopRule(5.0, "bernstein", 100)
    result = summary(correct, 5, stop=rule)
    assert result.kind == "anytime-bernstein"
    assert result.ci95 == pytest.approx(rule.half_widths(np.array(correct) / 5)[-1])
    assert result.ci95 > summary(correct, 5).ci95
    perfect = summary([5] * 200, 5, stop=StopRule(5.0, "asymptotic", 100))
    assert (perfect.kind, perfect.note) == ("anytime-asymptotic", "at ceiling")
    assert perfect.ci95 > 0.5


@pytest.mark.parametrize("episodes", [10, 30, 1000])
def test_the_running_interval_follows_the_exact_one(episodes: int) -> None:
    row, running = np.array([(7 * i) % 11 for i in range(episodes)], dtype=np.int32), RunningMean()
    running.add(1.0 * row[:4])
    running.add(1.0 * row[4:])
    mean, half = running.interval
    exact = summary(row, 100)
    assert running.count == episodes
    assert mean == pytest.approx(exact.mean)
    assert half == pytest.approx(exact.ci95, rel=0.01)


def test_the_running_interval_starts_without_a_width() -> None:
    running = RunningMean()
    running.add(np.array([50.0]))
    assert running.interval == (50, None)
    running.add(np.array([50.0]))
    assert running.interval == (50, 0.0)


@pytest.mark.realdata
@needs_raw_data
@pytest.mark.parametrize(
    ("dataset", "episodes", "mean", "sd", "z_half"),
    [
        ("dtd", 82, 55.3659, 20.439, 4.424),
        ("vgg_flower", 118, 93.7288, 10.025, 1.809),
        ("aircraft", 145, 53.5172, 21.328, 3.472),
        ("cub", 175, 85.3714, 14.414, 2.136),
    ],
)
def test_published_per_task_accuracies(dataset, episodes, mean, sd, z_half) -> None:
    """1-shot, CLIP, NCC of RafLaf/FSL-benchmark-again: five queries, so accuracies are multiples of 20."""
    correct = np.rint(raw_scores()[dataset, "clip", "NCC", 1] / 20).astype(int)
    result = summary(correct, 5)
    assert result.episodes == episodes
    assert result.mean == pytest.approx(mean, abs=5e-5)
    assert result.sd == pytest.approx(sd, abs=5e-4)
    t_over_z = scipy_stats.t.ppf(0.975, episodes - 1) / 1.96
    assert result.ci95 == pytest.approx(z_half * t_over_z, abs=6e-4)


@pytest.mark.realdata
@needs_raw_data
def test_a_real_ceiling() -> None:
    correct = np.rint(raw_scores()["vgg_flower", "dinov2", "NCC", 5] / 4).astype(int)
    result = summary(correct, 25)
    assert (result.episodes, result.note) == (22, "at ceiling")
    assert 100 - result.ci95 == pytest.approx(99.33, abs=0.005)
