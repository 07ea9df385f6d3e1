from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from metabench.stats import running_interval, summarise

ROOT = Path(__file__).parents[1]


def test_a_hand_computed_case() -> None:
    result = summarise([1, 2, 3, 4], 10)  # mean 2.5, variance 5/3, t(3) = 3.182446
    assert result.mean == 25.0
    assert result.sd == pytest.approx(12.909944)
    assert result.ci95 == pytest.approx(3.182446305 * 12.909944 / 2)
    assert result.low == pytest.approx(25 - result.ci95)
    assert (result.kind, result.episodes, result.note) == ("closed-t", 4, "few episodes")


def test_the_ends_stay_within_zero_and_a_hundred() -> None:
    result = summarise([10, 10, 10, 8], 10)
    assert result.high == 100.0
    assert result.mean + result.ci95 > 100
    assert summarise([0, 0, 0, 2], 10).low == 0.0


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60).filter(lambda row: len(set(row)) > 1))
def test_the_half_width_is_that_of_scipy(row: list[int]) -> None:
    result = summarise(row, 20)
    percent = np.array(row) * 5.0
    low, high = scipy_stats.t.interval(0.95, len(row) - 1, percent.mean(), scipy_stats.sem(percent))
    assert result.ci95 == pytest.approx((high - low) / 2)
    assert result.mean == pytest.approx(percent.mean())
    assert summarise(row[::-1], 20) == result


def test_one_episode_has_no_interval() -> None:
    result = summarise([3], 4)
    assert (result.mean, result.sd, result.ci95, result.kind) == (75.0, None, None, "none")


def test_ceiling_and_floor_have_a_width() -> None:
    top, bottom = summarise([25] * 22, 25), summarise([0] * 22, 25)
    assert (top.mean, top.kind, top.note) == (100.0, "clopper-pearson", "at ceiling")
    assert top.low == pytest.approx(100 * 0.025 ** (1 / 550))  # the closed form at the ceiling
    assert top.ci95 == pytest.approx(100 - top.low)
    assert bottom.note == "at floor"
    assert bottom.ci95 == pytest.approx(top.ci95)


def test_equal_episodes_off_the_ceiling_use_both_bounds() -> None:
    result = summarise([10] * 5, 20)
    exact = scipy_stats.binomtest(50, 100).proportion_ci(0.95, method="exact")
    assert result.note == "no variance"
    assert (result.low, result.high) == pytest.approx((100 * exact.low, 100 * exact.high))


@pytest.mark.parametrize("bad", [[], [1.5, 2.0], [[1, 2]], [-1, 2], [1, 11], ["1"]])
def test_bad_counts_are_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="counts"):
        summarise(bad, 10)


def test_small_integer_types_do_not_overflow() -> None:
    wide = np.array([200, 255, 190, 255])
    assert summarise(wide.astype(np.uint8), 255) == summarise(wide, 255)


def test_the_record_form_is_rounded() -> None:
    assert summarise([1, 2, 2], 3).as_record() == {
        "accuracy": 55.555556,
        "sd": 19.245009,
        "ci95": 47.807253,
        "interval": "closed-t",
        "episodes": 3,
        "note": "few episodes",
    }


@pytest.mark.parametrize("episodes", [10, 30, 1000])
def test_the_running_interval_follows_the_exact_one(episodes: int) -> None:
    row = [(7 * i) % 11 for i in range(episodes)]
    mean, half = running_interval(episodes, sum(row), sum(v * v for v in row))
    exact = summarise(row, 100)
    assert mean == pytest.approx(exact.mean)
    assert half == pytest.approx(exact.ci95, rel=0.01)


def test_the_running_interval_starts_without_a_width() -> None:
    assert running_interval(1, 5, 25) == (5, None)
    assert running_interval(2, 10, 50) == (5, 0.0)


def _folder() -> Path:
    given = os.environ.get("METABENCH_DATA", "").split(os.pathsep)
    folders = [Path(folder) for folder in given if folder] + [ROOT.parent / "shared" / "data"]
    return next((f for f in folders if (f / "per_task_accuracies.csv").exists()), Path())


@pytest.fixture(scope="module")
def per_task() -> dict[tuple[str, ...], list[float]]:
    path = _folder() / "per_task_accuracies.csv"
    if not path.exists():
        pytest.skip("no per_task_accuracies.csv: set METABENCH_DATA to its folder")
    rows = defaultdict(list)
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            key = (row["dataset"], row["backbone"], row["algorithm"], row["shot"])
            rows[key].append(float(row["accuracy"]))
    return rows


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("dataset", "episodes", "mean", "sd", "z_half"),
    [
        ("dtd", 82, 55.3659, 20.439, 4.424),
        ("vgg_flower", 118, 93.7288, 10.025, 1.809),
        ("aircraft", 145, 53.5172, 21.328, 3.472),
        ("cub", 175, 85.3714, 14.414, 2.136),
    ],
)
def test_published_per_task_accuracies(per_task, dataset, episodes, mean, sd, z_half) -> None:
    """1-shot, CLIP, NCC of RafLaf/FSL-benchmark-again: five queries, so accuracies are multiples of 20."""
    correct = np.rint(np.array(per_task[dataset, "clip", "NCC", "1"]) / 20).astype(int)
    result = summarise(correct, 5)
    assert result.episodes == episodes
    assert result.mean == pytest.approx(mean, abs=5e-5)
    assert result.sd == pytest.approx(sd, abs=5e-4)
    t_over_z = scipy_stats.t.ppf(0.975, episodes - 1) / 1.96
    assert result.ci95 == pytest.approx(z_half * t_over_z, abs=6e-4)


@pytest.mark.realdata
def test_a_real_ceiling(per_task) -> None:
    correct = np.rint(np.array(per_task["vgg_flower", "dinov2", "NCC", "5"]) / 4).astype(int)
    result = summarise(correct, 25)
    assert (result.episodes, result.note) == (22, "at ceiling")
    assert result.low == pytest.approx(99.33, abs=0.005)
