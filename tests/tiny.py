"""A benchmark small enough for tests: few generated glyphs, a narrow Conv-4, a handful of episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main

SETTINGS = {
    "data.train_classes": 12,
    "data.val_classes": 6,
    "data.test_classes": 8,
    "backbone.channels": 4,
    "train.way": 5,
    "train.episodes": 8,
    "train.validate_every": 3,
    "train.validation_episodes": 6,
    "train.validation_way": 4,
}


def arguments(home: Path, *more: str, algo: str = "protonet", settings: dict[str, Any] | None = None) -> list[str]:
    """Return the arguments of a tiny ``metabench run``."""
    chosen = {**SETTINGS, **(settings or {})}
    if "--checkpoint" in more or algo in ("nearest-mean-l2n", "linear-probe"):  # nothing is trained
        chosen = {name: value for name, value in chosen.items() if not name.startswith("train.")}
    if algo in ("chance", "nearest-mean"):
        chosen = {name: value for name, value in chosen.items() if name.startswith("data.")}
    pairs = [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
    return ["run", "--algo", algo, "--episodes", "60", "--home", str(home), "--quiet", *pairs, *more]


def run_json(capsys: pytest.CaptureFixture[str], args: list[str], code: int = 0) -> list[dict[str, Any]]:
    """Run in this process and return the rows of ``--json``."""
    capsys.readouterr()
    assert main([*args, "--json"]) == code
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    return rows


def record_of(home: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Return the stored record behind a row."""
    record: dict[str, Any] = json.loads((home / "records" / f"{row['key']}.json").read_text())
    return record
