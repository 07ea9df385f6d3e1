"""``metabench sweep``: choices are made on the validation classes, and only the chosen one meets the test."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main
from metabench.errors import MetabenchError
from metabench.leaderboard import Leaderboard
from metabench.records.schema import Record
from metabench.records.store import Store
from tests.tiny import arguments

SWEPT = ("--set", "train.episodes=4,12", "--set", "train.lr=0.001,0.01")


def sweep(tmp_path: Path, *more: str, algo: str = "protonet") -> list[str]:
    args = arguments(tmp_path / "home", *more, algo=algo)
    return ["sweep", *args[1:]]


def answer(capsys: pytest.CaptureFixture[str], args: list[str], code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*args, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def records(tmp_path: Path) -> list[Record]:
    return list(Store(tmp_path / "home").records())


def splits(tmp_path: Path) -> Counter[str]:
    return Counter(record.inputs.dataset.split for record in records(tmp_path))


def test_the_best_is_chosen_on_validation_and_test_is_not_looked_at(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = answer(capsys, sweep(tmp_path, *SWEPT))
    assert splits(tmp_path) == {"val": 4}
    assert (found["rows"], found["seeds"]) == ([], [])
    (one,) = found["sweeps"]
    assert (one["algorithm"], one["dataset"], one["split"], one["way"], one["shot"]) == (
        "protonet",
        "glyphs",
        "val",
        5,
        1,
    )
    by_key = {record.key: record for record in records(tmp_path)}
    for each in one["combinations"]:
        (key,) = each["keys"]
        training, summary = by_key[key].inputs.training, by_key[key].summary
        settings = {"train.episodes": str(training.episodes), "train.lr": str(training.lr)}
        assert (each["settings"], each["score"], each["ci95"]) == (settings, summary.mean, summary.ci95)
        assert training.train_on == "train"
    best = max(one["combinations"], key=lambda each: each["score"])
    assert (one["best"], best["rank"]) == (best["settings"], 1)


def test_only_the_chosen_one_is_tested_and_says_what_it_was_chosen_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = answer(capsys, sweep(tmp_path, *SWEPT, "--test"))
    assert splits(tmp_path) == {"val": 4, "test": 1}
    (row,) = found["rows"]
    (tested,) = (record for record in records(tmp_path) if record.inputs.dataset.split == "test")
    assert (row["key"], row["split"], row["cached"]) == (tested.key, "test", False)
    (entry,) = tested.provenance.sweeps
    assert (entry.combinations, entry.chosen_on) == (4, "val")
    assert entry.chosen == found["sweeps"][0]["best"]
    assert [each.settings for each in entry.tried] == [c["settings"] for c in found["sweeps"][0]["combinations"]]
    assert tested.inputs.training.episodes == int(entry.chosen["train.episodes"])
    chosen = next(each for each in entry.tried if each.settings == entry.chosen)
    (validated,) = (record for record in records(tmp_path) if (record.key,) == chosen.keys)
    assert validated.weights_sha256 == tested.weights_sha256  # trained once


def test_a_second_sweep_measures_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(capsys, sweep(tmp_path, *SWEPT, "--test"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "home" / "records").iterdir()}
    monkeypatch.setattr("metabench.execution.executor.Executor.measure", None)
    again = answer(capsys, sweep(tmp_path, *SWEPT, "--test"))
    assert [row["cached"] for row in again["rows"]] == [True]
    assert again["sweeps"] == first["sweeps"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "home" / "records").iterdir()} == before


def test_the_test_record_is_that_of_the_same_run_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, sweep(tmp_path, *SWEPT, "--test"))
    best = found["sweeps"][0]["best"]
    capsys.readouterr()
    assert main([*arguments(tmp_path / "home", settings=best), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["key"], row["cached"]) == (found["rows"][0]["key"], True)


def test_without_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    more = ("--set", "algo.c=0.01,1", "--backbone", "pixels", "--shots", "1,5")
    args = ["linear-probe" if word == "nearest-mean" else word for word in sweep(tmp_path, algo="nearest-mean")]
    found = answer(capsys, [*args, *more])
    assert [(one["shot"], len(one["combinations"])) for one in found["sweeps"]] == [(1, 2), (5, 2)]
    assert splits(tmp_path) == {"val": 4}
    assert all(record.inputs.training is None for record in records(tmp_path))


def test_seeds_count_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, sweep(tmp_path, "--set", "train.lr=0.001,0.01", "--seed", "0,1"))
    by_key = {record.key: record for record in records(tmp_path)}
    for each in found["sweeps"][0]["combinations"]:
        runs = [by_key[key] for key in each["keys"]]
        assert [run.inputs.seed for run in runs] == [0, 1]
        assert each["score"] == pytest.approx(sum(run.score for run in runs) / 2, abs=1e-5)
        assert each["seed_sd"] is not None


def test_algorithms_choose_by_themselves_among_what_concerns_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = sweep(tmp_path, "--set", "algo.metric=cosine,euclidean", algo="matching-net,protonet")
    found = answer(capsys, args)["sweeps"]
    assert [(one["algorithm"], len(one["combinations"])) for one in found] == [("matching-net", 2), ("protonet", 1)]


def test_a_combination_that_fails_is_told_and_not_chosen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = sweep(tmp_path, "--set", "train.lr=1e30,0.001", "--test")
    found = answer(capsys, args)
    first, second = found["sweeps"][0]["combinations"]
    assert (first["score"], first["rank"], second["rank"]) == (None, None, 1)
    assert "loss is" in first["problem"]
    assert found["sweeps"][0]["best"] == {"train.lr": "0.001"}
    assert main(args) == 0
    assert "failed: " in capsys.readouterr().out


def test_where_all_fail_nothing_is_chosen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = sweep(tmp_path, "--set", "train.lr=1e30,1e31", "--test")
    assert main(args) == 1
    assert "no combination could be measured" in capsys.readouterr().out
    assert splits(tmp_path) == {"val": 2}


def test_a_recipe_that_trains_on_validation_does_so_only_for_the_test(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from metabench.planning.planner import plan as real

    def on_both(selection: Any, registry: Any) -> Any:
        """As if the recipe of the dataset said so."""
        runs = real(selection, registry)
        if selection.split == "val":
            return runs
        return [
            dataclasses.replace(run, stages=(dataclasses.replace(run.stages[-1], train_on="train+val"),))
            for run in runs
        ]

    monkeypatch.setattr("metabench.planning.sweeps.plan", on_both)
    answer(capsys, sweep(tmp_path, "--set", "train.lr=0.001,0.01", "--test"))
    trained = {record.inputs.dataset.split: record.inputs.training.train_on for record in records(tmp_path)}
    assert trained == {"val": "train", "test": "train+val"}


def test_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(sweep(tmp_path, *SWEPT, "--test", "--csv", str(tmp_path / "out.csv"))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "protonet on glyphs, 5-way 1-shot: 4 combinations on the validation classes"
    assert lines[2].split() == ["train.episodes", "train.lr", "validation", "accuracy", "(%)", "rank"]
    assert sum(line.endswith("best") for line in lines) == 1
    assert "chosen combinations on the test classes:" in lines
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["best"] for row in rows].count("True") == 1
    assert {row["train.lr"] for row in rows} == {"0.001", "0.01"}
    assert {row["keys"] for row in rows} < {record.key for record in records(tmp_path)}  # the test's is not one
    assert all(float(row["open95"]) > 0 for row in rows)
    assert main(sweep(tmp_path, *SWEPT, "--markdown")) == 0
    assert "| 4 | 0.001 |" in " ".join(capsys.readouterr().out.split())


def test_a_dry_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(sweep(tmp_path, *SWEPT, "--dry-run")) == 0
    out = capsys.readouterr().out
    assert "episodes=12, lr=0.01" in out
    assert "4 runs: 4 to do" in out
    assert not records(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "train.lr=0.1"), "a sweep needs a parameter with several values"),
        (
            ("--set", "data.instances=5,6"),
            "--set data.instances: a sweep is over algo.*, backbone.* and stages of training",
        ),
        (("--set", "train.lr=0.1,x"), "train.lr must be a number, not 'x'"),
        (("--set", "algo.lr=0.1,0.2"), "algorithm 'protonet' has no parameter 'lr'"),
        (
            (*SWEPT, "--set", "train.train_on=train+val"),
            "cannot train on the classes of 'val' (train.train_on=train+val): they are measured",
        ),
        ((*SWEPT, "--ways", "7"), "7-way needs 7 classes but the split has 6"),
    ],
)
def test_bad_use(capsys: pytest.CaptureFixture[str], tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    assert main(sweep(tmp_path, *more)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not records(tmp_path)


def test_what_it_measured_is_no_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer(capsys, sweep(tmp_path, "--set", "train.lr=0.001,0.01"))
    board = Leaderboard(tmp_path / "board")
    for record in records(tmp_path):
        with pytest.raises(MetabenchError, match="which is for choosing"):
            board.add([record])
    assert main(["leaderboard", "add", records(tmp_path)[0].short_key, "--home", str(tmp_path / "home")]) == 1
    assert "Measure the split test" in capsys.readouterr().err
    assert main(["list", "runs", "--home", str(tmp_path / "home")]) == 0
    assert capsys.readouterr().out.count("glyphs (val)") == 2
