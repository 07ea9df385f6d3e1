from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metabench.leaderboard import page_text
from metabench.leaderboard.entries import Column, Entry, file_name
from metabench.leaderboard.row_labels import row_labels
from metabench.leaderboard.rows import BoardRow, group_rows
from metabench.records.schema import Record
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.summary import summarise
from tests.record_factory import cut_short, make_record

ONE = Column("", 5, 1, params=("query=15", "version=1"))


def _rows(*records: Record) -> list[BoardRow]:
    return group_rows([Entry(record, file_name(record)) for record in records])


def test_runs_that_differ_in_more_than_column_and_seed_have_their_own_rows() -> None:
    rows = _rows(
        make_record(),
        make_record(training__lr=0.01),
        make_record(algorithm__params={"metric": "cosine"}),
        make_record(algorithm__version=2),
        make_record(algorithm__setting="transductive"),
        make_record(backbone__trained_on="images of the web"),
        make_record(precision="bfloat16"),
        make_record(evaluation__seed=1),
        make_record(protocol__name="k-query"),
        make_record(training={"checkpoint": "ef" * 32}),
    )
    assert len(rows) == len({row.identity for row in rows}) == 10
    assert len(set(row_labels(rows).values())) == 10, "every difference is visible in pictures"


def test_every_parameter_of_the_protocol_makes_a_column() -> None:
    records = [make_record(), make_record(protocol__params__query=10), make_record(protocol__version=2)]
    records += [make_record(protocol__params={"way": 5, "shot": 1, "query": 15, "alpha": 0.5})]
    (row,) = _rows(*records)
    assert {cell.params for cell in row.cells} == {
        ("query=15", "version=1"), ("query=10", "version=1"), ("query=15", "version=2"),
        ("alpha=0.5", "query=15", "version=1"),
    }  # fmt: skip
    assert len({cell.title for cell in row.cells}) == 1
    assert page_text.protocols(row) == [
        "fixed-way\nalpha=0.5, query=15", "fixed-way\nquery=10", "fixed-way\nquery=15", "fixed-way v2\nquery=15"
    ]  # fmt: skip


def test_seeds_are_one_row_and_their_mean_is_its_accuracy() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(60, 76, (3, 40))
    (row,) = _rows(*(make_record(tuple(map(int, c)), training__seed=seed) for seed, c in enumerate(counts)))
    result = row.cells[ONE]
    assert [entry.seed for entry in result.entries] == [0, 1, 2]
    pooled = summarise(EpisodeScores.of_counts(counts.sum(0), 225))
    assert result.score == pytest.approx(pooled.mean, abs=1e-5)
    assert (result.ci95, result.kind) == (pytest.approx(pooled.ci95), "closed-t")
    assert result.seed_sd == pytest.approx(np.std(100 * counts.mean(1) / 75, ddof=1), abs=1e-5)
    assert row.seeds == 3
    np.testing.assert_allclose(result.merits, 100 * counts.mean(0) / 75)


def test_seeds_have_an_open_interval_of_their_sums_by_class() -> None:
    rng = np.random.default_rng(5)
    episodes = [100] * 10  # 200 episodes of five of ten classes
    records, sums = [], []
    for seed in range(2):
        correct = rng.integers(50, 76, 200)
        by_class = np.full(10, correct.sum() * 5 // 10)
        by_class[0] += correct.sum() * 5 - by_class.sum()
        by_class[1] += 40 * (seed + 1)
        by_class[2] -= 40 * (seed + 1)
        sums.append((correct, by_class))
        classes = {"episodes": episodes, "correct": by_class.tolist()}
        records.append(make_record(tuple(map(int, correct)), classes=classes, training__seed=seed))
    (row,) = _rows(*records)
    total = summarise(EpisodeScores.of_counts(sums[0][0] + sums[1][0], 150, (episodes, sums[0][1] + sums[1][1])))
    assert row.cells[ONE].open95 == pytest.approx(total.open95)
    assert total.open95 is not None


def test_seeds_on_different_episodes_are_said_to_be() -> None:
    (row,) = _rows(
        make_record((70, 75, 70, 75), training__seed=0),
        make_record((75, 75, 70, 75), training__seed=1, episodes_digest="ef" * 32),
    )
    result = row.cells[ONE]
    assert result.digest == ""
    assert result.note == "few episodes; seeds on different episodes"
    halves = [entry.record.summary.ci95 for entry in result.entries]
    assert result.ci95 == pytest.approx(np.hypot(*halves) / 2)


def test_the_interval_of_seeds_that_stopped_early_knows_what_they_share() -> None:
    """Equal answers to 160 and 150 episodes of one stream: no more certain than one of them."""
    counts = np.random.default_rng(1).integers(30, 60, 160).tolist()
    records = [
        make_record(tuple(counts[:length]), training__seed=seed, episodes_digest=digest)
        for seed, (length, digest) in enumerate(((160, "ab" * 32), (150, "cd" * 32)))
    ]
    (row,) = _rows(*(cut_short(record, 1000) for record in records))
    result = row.cells[ONE]
    assert result.note == "seeds share their first 150 episodes"
    halves = [entry.record.summary.ci95 for entry in result.entries]
    assert result.ci95 == pytest.approx(np.mean(halves), rel=0.02)
    assert result.score == pytest.approx(np.mean([np.mean(counts), np.mean(counts[:150])]) / 0.75, abs=1e-5)


def test_one_cell_reached_from_two_trainings_divides_the_group() -> None:
    rows = _rows(
        make_record(),
        make_record((70, 71, 72, 73), training__shot=5),
        make_record((70, 71, 72, 73), protocol__params__shot=5, training__shot=5),
    )
    assert [page_text.training(row) for row in rows] == [
        "seed 7, 60-way, 100 episodes",
        "seed 7, 60-way, 5/5-shot, 100 episodes",
    ]
    assert replace(ONE, shot=5) not in rows[0].cells


def test_a_training_of_another_length_leaves_the_shots_of_a_row_together() -> None:
    five = {"training__shot": 5, "protocol__params__shot": 5}
    longer, shorter = _rows(
        make_record((75, 75, 75, 72), training__episodes=200), make_record(), make_record((70, 71, 72, 73), **five)
    )
    assert [len(row.cells) for row in (longer, shorter)] == [1, 2]


def test_trainings_of_another_length_are_no_seeds_of_each_other() -> None:
    rows = _rows(make_record(training__seed=0), make_record(training__seed=1, training__episodes=50))
    assert [row.seeds for row in rows] == [1, 1]


def test_a_single_episode_comes_last_whatever_it_is() -> None:
    rows = _rows(make_record((75,), algorithm__name="lucky"), make_record((10, 11), algorithm__name="low"))
    assert [row.first.inputs.algorithm.name for row in rows] == ["low", "lucky"]


def test_rows_are_sorted_by_accuracy_and_missing_ones_come_last() -> None:
    rows = _rows(
        make_record((10, 11), algorithm__name="low"),
        make_record((70, 71), algorithm__name="high"),
        make_record((75, 75), algorithm__name="other", protocol__params__way=20),
        make_record((75, 75), algorithm__name="drawn", protocol__params={}, protocol__name="dynamic"),
    )
    assert [row.first.inputs.algorithm.name for row in rows] == ["high", "low", "other", "drawn"]
    assert [min(row.cells).title for row in rows[1:]] == ["5-way 1-shot", "20-way 1-shot", "dynamic"]
    files = [row.first.file.rpartition("-")[0] for row in rows]
    assert files[2:] == ["other-omniglot-20w1s", "drawn-omniglot-dynamic"]


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        ({"training": None}, True),
        ({}, False),
        ({"training": {"checkpoint": "ab" * 32}}, False),
        ({"training": None, "backbone__trained_on": "imagenet-1k"}, False),
    ],
)
def test_a_floor_has_learned_nothing(changes: dict[str, Any], floor: bool) -> None:
    (row,) = _rows(make_record(**changes))
    assert row.floor is floor


def test_names_say_only_what_tells_rows_apart() -> None:
    rows = _rows(
        make_record((75, 75), algorithm__params={"metric": "cosine", "steps": 5}),
        make_record((74, 75), algorithm__params={"metric": "euclidean", "steps": 5}),
        make_record((73, 75), algorithm__name="other"),
        make_record((72, 75), algorithm__name="deep"),
        make_record((71, 75), algorithm__name="deep", backbone__name="resnet"),
    )
    assert [row_labels(rows)[row.identity] for row in rows] == [
        "protonet, metric=cosine",
        "protonet, metric=euclidean",
        "other",
        "deep, conv4",
        "deep, resnet",
    ]
