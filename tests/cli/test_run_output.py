"""Rows, tables and files that ``metabench run`` gives."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import metabench
from metabench.cli.main import main
from tests.tiny import SETTINGS, arguments, record_of, run_json

COLUMNS = [
    "algorithm",
    "backbone",
    "dataset",
    "way",
    "shot",
    "query",
    "accuracy",
    "ci95",
    "episodes",
    "seed",
    "status",
    "key",
    "cached",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home shared by tests that do not mind what is already measured."""
    return tmp_path_factory.mktemp("home")


def test_rows_records_and_the_second_call(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    args = arguments(home, "--ways", "3,5", "--csv", str(tmp_path / "rows.csv"))
    rows = run_json(capsys, args)
    assert [row["way"] for row in rows] == [3, 5]
    assert all(set(COLUMNS) <= set(row) for row in rows)
    assert [row["cached"] for row in rows] == [False, False]
    record = record_of(home, rows[0])
    scores = record["scores"]
    assert len(scores["correct"]) == 60
    assert scores["n_query"] == 45
    assert rows[0]["accuracy"] == pytest.approx(100 * sum(scores["correct"]) / (60 * 45), abs=1e-4)
    # One model serves both ways.
    assert len(list((home / "models").iterdir())) == 1
    with (tmp_path / "rows.csv").open() as stream:
        assert [line["key"] for line in csv.DictReader(stream)] == [row["key"] for row in rows]

    again = run_json(capsys, args)
    assert [row.pop("cached") for row in again] == [True, True]
    assert again == [{name: value for name, value in row.items() if name != "cached"} for row in rows]


def test_the_second_call_needs_no_torch(home: Path) -> None:
    args = arguments(home, algo="chance")
    assert main(args) == 0
    code = (
        "import sys; from metabench.cli.main import main; code = main(sys.argv[1:]);"
        "loaded = {'torch', 'pandas'} & set(sys.modules); sys.exit(code or (9 if loaded else 0))"
    )
    result = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "chance" in result.stdout
    assert "\x1b" not in result.stdout


def test_markdown(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert main(arguments(home, "--markdown", algo="chance")) == 0
    assert capsys.readouterr().out.startswith("| algorithm ")


def test_python_returns_the_same_rows_and_leaves_random_states(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    table = metabench.run(algo="protonet", episodes=60, home=str(home), settings={**SETTINGS, "train.lr": 0.002})
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    (row,) = run_json(capsys, arguments(home, settings={"train.lr": 0.002}))
    assert row["cached"]
    assert table.loc[0, "accuracy"] == row["accuracy"]
    assert table.loc[0, "key"] == row["key"]
