from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.main import main
from metabench.episodes.batch import EpisodeBatch
from metabench.evaluation.error_analysis import ErrorAnalyzer
from metabench.records.record import build_record, write_record
from metabench.reports.error_tables import error_document, error_text
from tests.conftest import MakeSplit
from tests.record_factory import make_inputs
from tests.records.test_values_of_a_metric import valued
from tests.tiny import arguments, record_of, run_json


@pytest.fixture
def watcher(make_split: MakeSplit) -> ErrorAnalyzer:
    """Four classes of five images; ten episodes of two classes with two queries each, answered by hand."""
    watcher = ErrorAnalyzer(make_split([5, 5, 5, 5]))
    first, second = EpisodeBatch(*_episode(0, 1), way=2), EpisodeBatch(*_episode(3, 2), way=2)
    for _ in range(8):
        watcher(first, np.array([[0, 0, 1, 1]]))  # all right
    watcher(first, np.array([[0, 1, 1, 1]]))  # one of class 0 taken for class 1
    watcher(second, np.array([[1, 1, 1, 0]]))  # both of class 3 taken for 2, one of 2 for 3
    return watcher


def _episode(first: int, second: int) -> tuple[Any, ...]:
    """Label 0 is `first`, label 1 is `second`; the support stands in the other order than the labels."""
    support = np.array([[5 * second, 5 * first]])
    query = np.array([[5 * first + 1, 5 * first + 2, 5 * second + 1, 5 * second + 2]])
    return support, np.array([[1, 0]]), query, np.array([[0, 0, 1, 1]])


def test_episodes(watcher: ErrorAnalyzer) -> None:
    found = watcher.result(top=2)
    assert found.episodes == 10
    assert found.accuracy == pytest.approx(100 * (8 + 0.75 + 0.25) / 10)
    assert found.worst_tenth == 25.0  # one of ten episodes
    assert [(bad.episode, bad.accuracy, bad.classes) for bad in found.bad] == [
        (9, 25.0, ("c3", "c2")),
        (8, 75.0, ("c0", "c1")),
    ]
    assert found.quantiles["50 %"] == 100.0


def test_classes(watcher: ErrorAnalyzer) -> None:
    rows = {row.name: row for row in watcher.result(top=5).classes}
    assert list(rows) == ["c3", "c2", "c0", "c1"], "worst first, all of them in few episodes"
    assert (rows["c3"].accuracy, rows["c3"].ci95, rows["c3"].taken_for) == (0.0, None, "c2")
    assert rows["c3"].precision == 0.0
    assert rows["c2"].precision == pytest.approx(100 / 3)
    assert (rows["c3"].in_worst, rows["c0"].in_worst) == (100.0, 0.0)
    assert rows["c0"].accuracy == pytest.approx(100 * 8.5 / 9)
    # the t interval over nine episodes, eight of 1 and one of 1/2
    assert rows["c0"].ci95 == pytest.approx(2.3060041 * 100 * np.std([1] * 8 + [0.5], ddof=1) / 3)
    assert rows["c1"].precision == pytest.approx(100 * 18 / 19)
    assert (rows["c0"].episodes, rows["c0"].queries) == (9, 18)


def test_classes_in_few_episodes_come_last(watcher: ErrorAnalyzer) -> None:
    watcher(EpisodeBatch(*_episode(0, 1), way=2), np.array([[0, 0, 1, 1]]))  # the tenth for both
    assert [(row.name, row.episodes) for row in watcher.result(top=5).classes] == [
        ("c0", 10),
        ("c1", 10),
        ("c3", 1),
        ("c2", 1),
    ]


def test_confusions_are_of_queries_where_both_were(watcher: ErrorAnalyzer) -> None:
    pairs = [(p.truth, p.answer, p.count, p.queries) for p in watcher.result(top=5).confusions]
    assert pairs == [("c3", "c2", 2, 2), ("c2", "c3", 1, 2), ("c0", "c1", 1, 18)]


def test_many_confusions_come_before_few(make_split: MakeSplit) -> None:
    watcher = ErrorAnalyzer(make_split([5, 5, 5, 5]))
    for answer in ([[0, 0, 1, 1]], [[1, 1, 1, 1]], [[1, 1, 1, 1]], [[1, 1, 1, 1]], [[1, 0, 1, 1]]):
        watcher(EpisodeBatch(*_episode(0, 1), way=2), np.array(answer))
    watcher(EpisodeBatch(*_episode(3, 2), way=2), np.array([[1, 1, 1, 1]]))
    assert [(p.truth, p.count) for p in watcher.result(5).confusions] == [("c0", 7), ("c3", 2)]


def test_chunks_change_nothing(make_split: MakeSplit) -> None:
    one, two = ErrorAnalyzer(make_split([5, 5, 5, 5])), ErrorAnalyzer(make_split([5, 5, 5, 5]))
    parts = [EpisodeBatch(*_episode(*pair), way=2) for pair in ((0, 1), (3, 2), (1, 3))]
    answers = np.array([[0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]])
    both = EpisodeBatch(*(np.concatenate([vars(p)[n] for p in parts]) for n in list(vars(parts[0]))[:4]), way=2)
    one(both, answers)
    for part, answer in zip(parts, answers, strict=True):
        two(part, answer[None])
    assert error_document(one.result(9)) == error_document(two.result(9))


def test_text_shows_the_worst_of_many_classes(watcher: ErrorAnalyzer) -> None:
    text = error_text(watcher.result(2), 2)
    assert "of the worst tenth 25.00 %" in text
    assert "the worst 2 of 4" in text
    assert "2 of 2" in text


@pytest.mark.parametrize("algo", ["nearest-mean", "protonet"])
def test_a_stored_run_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str], algo: str) -> None:
    (row,) = run_json(capsys, arguments(tmp_path, algo=algo))
    before = record_of(tmp_path, row)
    assert main(["worst", row["key"][:12], "--home", str(tmp_path), "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == pytest.approx(row["accuracy"])
    scores = sorted(before["scores"]["correct"])
    assert found["worst_tenth"] == pytest.approx(100 * sum(scores[:6]) / (6 * before["scores"]["n_query"]))
    assert {each["name"]: each["episodes"] for each in found["classes"]} == {
        f"glyph{2_000_000 + index:07d}": episodes
        for index, episodes in enumerate(before["scores"]["classes"]["episodes"])
    }
    assert record_of(tmp_path, row) == before
    assert main(["worst", row["key"][:12], "--home", str(tmp_path), "--top", "3", "--quiet"]) == 0
    assert f"{algo} on glyphs, 5-way 1-shot" in capsys.readouterr().out


def test_a_replay_cut_short_is_watched_from_its_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, arguments(tmp_path, algo="nearest-mean"))
    command = ["worst", row["key"][:12], "--home", str(tmp_path), "--json", "--quiet"]
    assert main(command) == 0
    whole = capsys.readouterr().out
    assert not list((tmp_path / "partial").glob("*"))
    (lock,) = {p.stem for p in (tmp_path / "locks").glob("*.lock")} - {row["key"]}
    (tmp_path / "partial").mkdir(exist_ok=True)
    (tmp_path / "partial" / f"{lock}.f64").write_bytes(b"\0" * 72)
    assert main(command) == 0
    assert capsys.readouterr().out == whole


def test_a_failed_run_has_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path / "a.json", build_record(make_inputs(), "failed", error={"type": "X", "message": "y"}))
    assert main(["worst", str(tmp_path / "a.json"), "--home", str(tmp_path)]) == 1
    assert "is failed" in capsys.readouterr().err


def test_values_are_neither_right_nor_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path / "a.json", valued())
    assert main(["worst", str(tmp_path / "a.json"), "--home", str(tmp_path)]) == 2
    assert "it counts no answers. Use 'metabench show" in capsys.readouterr().err
