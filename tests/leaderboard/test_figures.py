from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metabench.leaderboard.board import Board, boards
from metabench.leaderboard.entries import Entry, file_name
from metabench.leaderboard.figures import (
    LEAST_DATASETS,
    MOST_DOTS,
    costs,
    dot_plots,
    ranked_by_datasets,
    ranked_by_episodes,
    shot_curves,
)
from metabench.records.schema import Record
from metabench.statistics.dataset_ranking import critical_difference, mean_ranks
from tests.leaderboard.samples import FLOOR
from tests.record_factory import changed, make_record


def _boards(records: list[Record]) -> list[Board]:
    return boards([Entry(record, file_name(record)) for record in records], [], {}, ())


def _counts(mean: int, seed: int) -> tuple[int, ...]:
    return tuple(map(int, np.clip(mean + np.random.default_rng(seed).integers(-5, 6, 60), 0, 75)))


def _row(name: str, mean: int, **changes: Any) -> Record:
    return make_record(_counts(mean, mean), algorithm__name=name, **changes)


def test_a_column_with_one_row_has_no_picture() -> None:
    (board,) = _boards([make_record()])
    (section,) = board.sections
    for draw in (dot_plots, ranked_by_episodes, shot_curves, costs):
        assert draw(section) == []


def test_dot_plots_keep_to_the_best_rows_and_a_floor() -> None:
    records = [_row(f"a{mean}", mean) for mean in range(30, 30 + MOST_DOTS + 5)]
    records.append(make_record(_counts(15, 1), **FLOOR))
    (board,) = _boards(records)
    (picture,) = dot_plots(board.sections[0])
    assert picture.title == f"5-way 1-shot, the best {MOST_DOTS} of {MOST_DOTS + 6} rows"
    assert picture.description.count("rank") == MOST_DOTS
    assert "chance" in picture.description
    assert "a30 " not in picture.description


def test_ranks_over_episodes_are_those_of_the_scores() -> None:
    records = [_row("a", 60), _row("b", 59), _row("c", 40)]
    (board,) = _boards([*records, _row("d", 61, evaluation__seed=1, episodes_digest="ef" * 32)])
    (picture,) = ranked_by_episodes(board.sections[0])
    scores = np.array([record.measured.correct for record in records]).T
    for name, rank in zip("abc", mean_ranks(scores), strict=True):
        assert f"{name} {rank:.2f}" in picture.description
    assert f"critical difference {critical_difference(3, 60):.3f}" in picture.description
    assert "d " not in picture.description.replace("critical difference", ""), "it met other episodes"


def test_shot_curves_need_two_shots() -> None:
    cells = [{"protocol__params__shot": shot, "training__shot": shot} for shot in (1, 5)]
    records = [_row("a", 50 + 5 * number, **cell) for number, cell in enumerate(cells)]
    (board,) = _boards([*records, _row("b", 40)])
    (picture,) = shot_curves(board.sections[0])
    assert picture.title == "5-way"
    assert picture.description.startswith("a: 1-shot ")
    assert "b:" not in picture.description


def test_time_is_that_of_one_episode() -> None:
    records = [_row("a", 60), _row("b", 50), _row("c", 40)]
    records = [
        changed(record, cost={"episodes_per_second": speed}) if speed else record
        for record, speed in zip(records, (200.0, 10.0, None), strict=True)
    ]
    (board,) = _boards(records)
    (picture,) = costs(board.sections[0])
    accuracy = [record.score for record in records]
    assert picture.description == f"a {accuracy[0]:.2f} at 5; b {accuracy[1]:.2f} at 100"


@pytest.mark.parametrize("number", [LEAST_DATASETS - 1, LEAST_DATASETS])
def test_datasets_are_ranked_over_when_there_are_enough(number: int) -> None:
    records = [
        _row(name, mean, dataset__name=f"d{data}", dataset__digest=f"{data:064x}")
        for data in range(number)
        for name, mean in (("a", 60), ("b", 50 + 20 * (data == 0)), ("c", 30))
    ]
    records.append(_row("here-only", 70, dataset__name="d1", dataset__digest=f"{1:064x}"))
    picture = ranked_by_datasets(_boards(records))
    if number < LEAST_DATASETS:
        assert picture is None
        return
    assert picture is not None
    assert picture.title == "5 datasets"
    assert [part.rpartition(" ")[2] for part in picture.description.split("; ")[1:]] == ["1.20", "1.80", "3.00"]
    assert "here-only" not in picture.description
