"""Launches: all runs are checked before one is measured, and what is stored is not measured again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import metabench
from metabench.cli.main import main
from metabench.errors import UsageError
from metabench.execution.launcher import launch, run_selection
from metabench.execution.session import Session
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.registry.params import Value
from metabench.registry.registry import load_registry
from metabench.reports.rows import outcome_rows
from metabench.utils.console import Console
from metabench.utils.home import Home
from tests.tiny import SETTINGS, arguments, run_json

DATA: Mapping[str, Value] = {name: value for name, value in SETTINGS.items() if name.startswith("data.")}


def session(root: Path, **options: Any) -> Session:
    return Session(Home(root), Console(quiet=True), "cpu", **options)


def selection(**options: Any) -> Selection:
    return Selection(**{"algorithms": ("chance",), "episodes": 5, "settings": DATA, **options})


def test_outcomes_come_in_the_order_of_the_runs(tmp_path: Path) -> None:
    run_selection(selection(ways=(3,)), session(tmp_path))
    outcomes = run_selection(selection(algorithms=("nearest-mean", "chance"), ways=(4, 3, 2)), session(tmp_path))
    assert [outcome.cached for outcome in outcomes] == [False] * 4 + [True, False]
    rows = outcome_rows(outcomes)
    assert [(row["algorithm"], row["way"], row["cached"]) for row in rows] == [
        ("nearest-mean", 4, False), ("nearest-mean", 3, False), ("nearest-mean", 2, False),
        ("chance", 4, False), ("chance", 3, True), ("chance", 2, False),
    ]  # fmt: skip


def test_nothing_to_launch(tmp_path: Path) -> None:
    assert launch([], session(tmp_path)) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ways", "3,9"], "9-way needs 9 classes but the split has 8"),
        (["--shots", "1,6"], "the largest legal --query is 14"),
        (["--set", "train.optimizer=lion"], "train.optimizer must be one of adam, adamw, sgd, not 'lion'"),
        (["--set", "train.validation_way=7"], "7-way needs 7 classes but the split has 6"),
        (["--set", "train.way=1"], "way must be at least 2, not 1"),
        (
            ["--algo", "matching-net", "--set", "algo.metric=euclidean", "--backbone", "conv4,pixels"],
            "has nothing to learn; use a backbone that learns",
        ),
    ],
)
def test_all_runs_are_checked_before_one_is_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: list[str], message: str
) -> None:
    assert main(arguments(tmp_path, *more)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not any((tmp_path / name).exists() for name in ("models", "records", "partial"))


def test_an_unknown_device_is_refused_even_when_all_is_cached(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(arguments(tmp_path, algo="chance")) == 0
    assert main(arguments(tmp_path, "--device", "cdua", algo="chance")) == 2
    assert "unknown device 'cdua'" in capsys.readouterr().err
    # A known one is not even looked for, as nothing is measured.
    assert run_json(capsys, arguments(tmp_path, "--device", "cuda:99", algo="chance"))[0]["cached"]


def test_a_session_may_bring_its_own_registry(tmp_path: Path) -> None:
    registry = load_registry()
    assert session(tmp_path, registry=registry).registry is registry


def test_python_takes_a_checkpoint_by_its_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (row,) = run_json(capsys, arguments(tmp_path))
    (weights,) = (tmp_path / "models").glob("*/weights.safetensors")
    settings = {**DATA, "backbone.channels": 4}
    options: dict[str, Any] = {"home": str(tmp_path), "episodes": 60, "settings": settings, "device": "cpu"}
    table = metabench.run("protonet", checkpoint=str(weights), **options)
    assert table.loc[0, "accuracy"] == row["accuracy"]
    assert table.loc[0, "key"] != row["key"]
    with pytest.raises(UsageError, match="unknown algorithm 'protonett'; did you mean 'protonet'"):
        metabench.run("protonett", **options)


def test_python_runs_a_suite(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nversion = 1\nsummary = "s"\nepisodes = 20\ndatasets = ["glyphs"]\nways = [3]\n'
        "settings.data = { train_classes = 12, val_classes = 6, test_classes = 8 }\n"
        "[[runs]]\nshots = [1, 2]\n[[runs]]\nways = [9]\n"
    )
    options: dict[str, Any] = {"home": str(tmp_path / "home"), "device": "cpu"}
    table = metabench.run(["nearest-mean", "chance"], suite=tmp_path / "mine.toml", **options)
    assert list(table["status"]) == ["ok"] * 4 + ["skipped"] * 2
    assert (
        list(table["note"][4:]) == ["UsageError: 9-way needs 9 classes but the split has 8; use --ways 8 or fewer"] * 2
    )
    assert table["score"].isna().tolist() == [False] * 4 + [True] * 2
    outside = metabench.run("chance", ways=3, episodes=20, settings=DATA, **options)
    assert outside.loc[0, "cached"] and outside.loc[0, "key"] == table.loc[2, "key"]
    with pytest.raises(UsageError, match="suite mine@1 settles ways; leave that to it"):
        metabench.run("chance", suite=tmp_path / "mine.toml", ways=5, **options)


def test_a_csv_that_is_a_folder_is_refused_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(arguments(tmp_path / "home", "--csv", str(tmp_path), algo="chance")) == 2
    assert f"cannot write --csv {tmp_path}: it is a folder. Pass a file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_validation_classes_are_measured_under_a_key_of_their_own(tmp_path: Path) -> None:
    one = session(tmp_path)
    for split in ("val", "test"):
        (outcome,) = run_selection(selection(algorithms=("nearest-mean",), split=split), one)
        record = outcome.record
        dataset = record.inputs.dataset
        assert (dataset.split, outcome.cached) == (split, False)
        (run,) = plan(selection(split=split), one.registry)
        assert dataset.digest == one.loader.digests(run.dataset)[split]
        assert len(record.measured.classes.episodes) == {"val": 6, "test": 8}[split]
        rows = outcome_rows([outcome])
        assert (rows[0]["dataset"], rows[0]["split"]) == ("glyphs", split)
