from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main
from metabench.comparison.learning_curves import learning_curves
from metabench.errors import NothingMeasured, UsageError
from metabench.plotting.learning_curve_plot import learning_curve_picture
from metabench.records.record import Record, build_record, write_record
from metabench.reports.curve_tables import curve_rows, curve_text
from tests.record_factory import make_inputs, make_record
from tests.tiny import arguments

SCORES = {1: (40, 45, 50, 41) * 10, 2: (50, 55, 52, 51) * 10, 5: (70, 66, 71, 69) * 10}


def record(shot: int, **changes: Any) -> Record:
    changes = {"training__shot": shot, "training__query": shot, **changes}
    return make_record(SCORES[shot], protocol__params__shot=shot, episodes_digest=f"{shot:064x}", **changes)


@pytest.fixture
def curves_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for shot in SCORES:
        for name in ("protonet", "matching-net"):
            write_record(tmp_path / "runs" / f"{name}{shot}.json", record(shot, algorithm__name=name))
    return tmp_path


def test_runs_that_differ_in_shots_are_one_curve() -> None:
    (curve,) = learning_curves([record(shot) for shot in (5, 1, 2)])
    assert (curve.method, curve.dataset, curve.protocol) == ("protonet", "omniglot", "5-way")
    assert [level.shot for level in curve.levels] == [1, 2, 5]
    assert curve.levels[0].score == pytest.approx(100 * 44 / 75)


def test_a_gain_is_a_difference_with_both_uncertainties() -> None:
    (curve,) = learning_curves([record(shot) for shot in SCORES])
    fewer, more, gain, half = curve.gains()[0]
    assert gain == pytest.approx(more.score - fewer.score)
    assert half == pytest.approx(math.hypot(fewer.ci95 or 0, more.ci95 or 0))
    assert [row["gain"] is None for row in curve_rows([curve])] == [True, False, False]


def test_queries_may_differ_and_ways_may_not() -> None:
    found = learning_curves([record(1), record(2, protocol__params__query=3), record(5, protocol__params__way=20)])
    assert [(curve.protocol, len(curve.levels)) for curve in found] == [("5-way", 2), ("20-way", 1)]


def test_methods_are_told_apart() -> None:
    several = [record(shot, backbone__params={"channels": width}) for shot in SCORES for width in (32, 64)]
    assert [curve.method for curve in learning_curves(several)] == ["protonet channels=32", "protonet channels=64"]


def test_shots_trained_for_in_several_ways_are_several_curves() -> None:
    """A longer training for five shots is not joined to a shorter one for two, as if that were what shots buy."""
    short = [record(shot, training__episodes=50) for shot in (2, 5)]
    found = learning_curves([record(5, training__episodes=100), *short])
    told = {curve.method: [level.shot for level in curve.levels] for curve in found}
    assert told == {"protonet 100 training episodes": [5], "protonet 50 training episodes": [2, 5]}


def test_queries_that_help_each_other_are_as_many_for_all_shots() -> None:
    few, many = {"protocol__params__query": 1}, {"protocol__params__query": 15}
    runs = [record(shot, algorithm__setting="transductive", **query) for shot, query in ((1, few), (5, many))]
    told = {curve.method: [level.shot for level in curve.levels] for curve in learning_curves(runs)}
    assert told == {"protonet query=1": [1], "protonet query=15": [5]}


def test_other_questions_about_the_same_shots_are_other_curves() -> None:
    runs = [record(shot, protocol__params__query=query) for shot, query in ((1, 1), (5, 1), (5, 15))]
    told = {curve.method: [level.shot for level in curve.levels] for curve in learning_curves(runs)}
    assert told == {"protonet query=1": [1, 5], "protonet query=15": [5]}
    found = learning_curves([record(1), record(1, evaluation__seed=3)])
    assert [curve.method for curve in found] == ["protonet episode seed 0", "protonet episode seed 3"]


def test_a_recipe_may_depend_on_the_shots() -> None:
    (curve,) = learning_curves([record(1, training__way=30), record(5, training__way=20)])
    assert (curve.method, len(curve.levels)) == ("protonet", 2)


def test_training_seeds_are_one_level() -> None:
    (curve,) = learning_curves([record(1, training__seed=seed) for seed in (0, 1)])
    (level,) = curve.levels
    assert (level.seeds, len(level.keys)) == (2, 2)


def test_of_runs_that_tell_the_same_the_longest_counts() -> None:
    short = make_record((75, 74), protocol__params__shot=1)
    (curve,) = learning_curves([short, record(1)])
    assert curve.levels[0].episodes == 40


def test_runs_without_scores_are_left_out() -> None:
    failed = build_record(make_inputs(), "failed", error={"type": "X", "message": "y"})
    with pytest.raises(NothingMeasured, match="no run that succeeded"):
        learning_curves([failed])


def test_text_has_accuracies_and_gains() -> None:
    text = curve_text(learning_curves([record(shot) for shot in SCORES]))
    assert "omniglot, 5-way: accuracy (%)" in text
    assert "58.67 ±" in text
    assert "1 to 2" in text
    assert "+10.67 ±" in text
    assert "| 2 to 5" in curve_text(learning_curves([record(shot) for shot in SCORES]), markdown=True)


def test_the_picture_names_every_curve() -> None:
    records = [record(shot, algorithm__name=name) for shot in SCORES for name in ("a", "b")]
    picture = learning_curve_picture(learning_curves(records))
    texts = [e.text for e in ET.fromstring(picture.file()).iter() if e.tag.endswith("}text")]
    assert {"a", "b", "1", "2", "5", "omniglot, 5-way"} <= set(texts)
    with pytest.raises(UsageError, match="two numbers of shots"):
        learning_curve_picture(learning_curves([record(1)]))


def test_the_command(curves_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curve", "runs", "--json", "--plot", "c.svg", "--csv", "c.csv", "--algo", "protonet"]) == 0
    levels = json.loads(capsys.readouterr().out)["levels"]
    assert [(level["method"], level["shot"]) for level in levels] == [("protonet", shot) for shot in SCORES]
    assert ET.parse(curves_folder / "c.svg").getroot().tag.endswith("svg")
    assert len((curves_folder / "c.csv").read_text().splitlines()) == 4
    assert main(["curve", "runs", "--ways", "5"]) == 0
    assert capsys.readouterr().out.count("matching-net") == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["runs", "--algo", "maml", "--ways", "5,20"], 4, "no run has algorithm maml, way 20 or 5; see"),
        (["nowhere.json"], 2, "cannot read the record"),
        (["runs", "--plot", "no/a.svg"], 2, "not found"),
        (["runs", "--json", "--markdown"], 2, "exclude each other"),
        (["--home", "empty"], 4, "no run that succeeded"),
    ],
)
def test_mistakes(
    curves_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert main(["curve", *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_draws_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "c.svg"
    words = arguments(tmp_path, "--plot", str(plot), algo="nearest-mean")
    assert main([*words, "--shots", "1,2"]) == 0
    texts = [e.text for e in ET.parse(plot).iter() if e.tag.endswith("}text")]
    assert {"nearest-mean", "glyphs, 5-way"} <= set(texts)
    plot.unlink()
    capsys.readouterr()
    assert main([*words, "--shots", "1"]) == 0, "the measurement is not lost"
    said = capsys.readouterr()
    assert "nearest-mean" in said.out
    assert "no method has at least two numbers of shots" in said.err
    assert main([*arguments(tmp_path, algo="nearest-mean"), "--plot", str(tmp_path / "no" / "c.svg")]) == 2
