"""Runs of several training seeds, grouped and summarised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from metabench.comparison.seed_groups import over_seeds
from metabench.records.record import Record, build_record
from metabench.reports.seed_tables import seed_rows, seed_spread, seed_text
from tests.record_factory import cut_short, make_inputs, make_record

RANDOM = np.random.default_rng(0)


def _runs(shifts: tuple[int, ...], **changes: Any) -> list[Record]:
    base = RANDOM.integers(40, 60, 200)
    return [make_record((base + shift).tolist(), training__seed=seed, **changes) for seed, shift in enumerate(shifts)]


def test_runs_that_differ_in_the_seed_alone_belong_together() -> None:
    runs = [*_runs((0, 3, 6)), *_runs((0, 1), algorithm__name="other"), *_runs((0, 0), training__lr=0.5)]
    runs.append(build_record(make_inputs(), "failed", error={"type": "X", "message": "y"}))
    assert [group.seeds for group in over_seeds(runs)] == [3, 2, 2]
    assert [r.inputs.seed for r in over_seeds(runs[::-1])[-1].records] == [0, 1, 2]


def test_the_total_interval_by_hand() -> None:
    """Seeds that differ by a constant: the spread of the seeds and that of the episodes are independent."""
    runs = _runs((0, 3, 6))
    (group,) = over_seeds(runs)
    assert group.seed_sd == pytest.approx(4.0)  # 0, 4 and 8 points
    rows = np.array([run.measured.correct for run in runs]) / 0.75
    assert group.score == pytest.approx(rows.mean())
    seeds, episodes = 16 / 3, rows.mean(0).var(ddof=1) / 200
    cautious = seeds * 2 / scipy.stats.chi2.ppf(0.25, 2)  # the spread may have come out small by luck
    df = (cautious + episodes) ** 2 / (cautious**2 / 2 + episodes**2 / 199)
    assert group.total95 == pytest.approx(scipy.stats.t.ppf(0.975, df) * (seeds + episodes) ** 0.5)
    assert group.total_open95 is None


def test_it_is_the_limit_of_resampling_seeds_first_then_episodes() -> None:
    """A bootstrap of both, with the divisor of the seeds put right, has the same standard error."""
    rows = RANDOM.normal(0, 2, (8, 1)) + RANDOM.normal(50, 8, 150) + RANDOM.normal(0, 1, (8, 150))
    runs = [make_record(np.rint(row).astype(int).tolist(), training__seed=seed) for seed, row in enumerate(rows)]
    scores = np.array([run.measured.correct for run in runs]) / 0.75
    draws = [scores[RANDOM.integers(0, 8, 8)][:, RANDOM.integers(0, 150, 150)].mean() for _ in range(8000)]
    seeds = scores.mean(1).var(ddof=1) / 8
    expected = (np.var(draws) + seeds / 8) ** 0.5
    (group,) = over_seeds(runs)
    episodes = scores.mean(0).var(ddof=1) / 150
    cautious = seeds * 7 / scipy.stats.chi2.ppf(0.25, 7)
    df = (cautious + episodes) ** 2 / (cautious**2 / 7 + episodes**2 / 149)
    assert group.total95 / scipy.stats.t.ppf(0.975, df) == pytest.approx(expected, rel=0.05)


def test_the_open_total_adds_the_classes() -> None:
    members = np.argsort(RANDOM.random((200, 40)), axis=1)[:, :5]
    effects = RANDOM.normal(0, 12, 40)
    episodes = np.bincount(members.ravel(), minlength=40).tolist()
    runs = []
    for seed in range(3):
        correct = np.clip(np.rint(50 + effects[members].mean(1) + RANDOM.normal(seed, 2, 200)), 0, 75).astype(int)
        sums = np.bincount(members.ravel(), np.repeat(correct, 5), 40).astype(int).tolist()
        runs.append(make_record(correct.tolist(), {"episodes": episodes, "correct": sums}, training__seed=seed))
    (group,) = over_seeds(runs)
    assert group.total_open95 is not None
    assert group.total95 is not None
    assert group.total_open95 > group.total95
    assert group.total_open95 > 0.8 * min(run.summary.open95 for run in runs)


def test_the_open_total_is_no_smaller_than_the_closed_one() -> None:
    """Classes without an effect and seeds that hardly differ: the open variance may come out smaller by luck."""
    random = np.random.default_rng(5)
    members = np.argsort(random.random((60, 40)), axis=1)[:, :5]
    episodes, smallest = np.bincount(members.ravel(), minlength=40).tolist(), np.inf
    for _ in range(30):
        runs = []
        for seed in range(3):
            correct = np.rint(random.normal(45, 4, 60)).astype(int)
            sums = np.bincount(members.ravel(), np.repeat(correct, 5), 40).astype(int).tolist()
            runs.append(make_record(correct.tolist(), {"episodes": episodes, "correct": sums}, training__seed=seed))
        (group,) = over_seeds(runs)
        assert group.total95 is not None
        assert group.total_open95 is not None
        smallest = min(smallest, group.total_open95 / group.total95)
    assert smallest == 1.0


def test_an_open_total_to_the_far_end_of_the_range_is_left_out() -> None:
    """Two seeds far apart, on three classes in pairs."""
    classes = {"episodes": [3, 3, 2]}
    runs = [
        make_record((75, 75, 3, 0), {**classes, "correct": [150, 153, 3]}, protocol__params__way=2),
        make_record((75, 70, 3, 5), {**classes, "correct": [145, 153, 8]}, protocol__params__way=2, training__seed=1),
    ]
    (group,) = over_seeds(runs)
    assert group.total95 is not None
    assert group.total_open95 is None


def test_one_training_tells_nothing_of_another() -> None:
    (group,) = over_seeds(_runs((0,)))
    assert (group.seeds, group.seed_sd, group.total95, group.total_open95) == (1, None, None, None)
    (row,) = seed_rows(_runs((0,)))
    assert seed_spread(len(row["seeds"]), row["seed_sd"]) == "1 (-)"


def test_without_training_there_is_no_seed_and_the_interval_stays() -> None:
    record = make_record((70, 71, 72, 75), training=None)
    (group,) = over_seeds([record])
    assert (group.seeds, group.total95) == (0, record.summary.ci95)
    assert seed_spread(0, None) == "-"


def test_seeds_on_different_episodes_carry_their_variance_in_the_spread() -> None:
    runs = [
        make_record(run.measured.correct, training__seed=run.inputs.seed, episodes_digest=digest * 64)
        for run, digest in zip(_runs((0, 3, 6)), "abc", strict=True)
    ]
    (group,) = over_seeds(runs)
    assert group.total95 == pytest.approx(scipy.stats.t.ppf(0.975, 2) * 4 / 3**0.5)


def test_seeds_that_stopped_at_different_episodes_do_not_look_independent() -> None:
    """Three seeds alike, 200 / 180 / 200 episodes of one stream: about as certain as one of them, not three times."""
    base = RANDOM.integers(30, 60, 200)
    runs = []
    for seed, (length, digest) in enumerate(((200, "ab" * 32), (180, "cd" * 32), (200, "ab" * 32))):
        counts = (base + RANDOM.integers(-1, 2, 200))[:length].tolist()
        runs.append(cut_short(make_record(counts, training__seed=seed, episodes_digest=digest), 1000))
    (group,) = over_seeds(runs)
    assert group.total95 is not None
    assert 0.9 < group.total95 / np.mean([run.summary.ci95 for run in runs]) < 1.6


def test_one_episode_has_no_interval_over_seeds() -> None:
    (group,) = over_seeds([make_record((70 + seed,), training__seed=seed) for seed in range(3)])
    assert (group.score, group.total95, group.total_open95) == (pytest.approx(100 * 71 / 75), None, None)


def test_equal_seeds_at_the_ceiling_have_the_width_of_one() -> None:
    runs = [make_record((75,) * 4, training__seed=seed) for seed in range(2)]
    (group,) = over_seeds(runs)
    assert (group.seed_sd, group.total95) == (0.0, pytest.approx(runs[0].summary.ci95))


def test_the_table() -> None:
    runs = [*_runs((0, 3, 6)), *_runs((0,), algorithm__name="a|b")]
    text = seed_text(seed_rows(runs))
    lines = text.splitlines()
    assert lines[0].split() == ["algorithm", "backbone", "dataset", "way", "shot", "seeds", "(sd)",
                                "accuracy", "over", "seeds", "(%)"]  # fmt: skip
    assert "3 (4.00)" in lines[2]
    assert "±" in lines[2]
    assert "1 (-)" in lines[3]
    assert "±" not in lines[3]
    assert r"a\|b" in seed_text(seed_rows(runs), markdown=True)


def test_a_row_holds_what_json_prints() -> None:
    runs = _runs((0, 3))
    (row,) = seed_rows(runs)
    assert (row["seeds"], row["keys"], row["algorithm"], row["way"]) == (
        [0, 1],
        [r.key for r in runs],
        "protonet",
        5,
    )
    assert row["seed_sd"] == pytest.approx(4 / 2**0.5)
    assert "seed" not in row
