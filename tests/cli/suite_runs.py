"""A small suite, and the command line that measures one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main

SUITE = """
name = "mine"
version = 3
summary = "a try"
episodes = 40
[settings]
data = { train_classes = 12, val_classes = 6, test_classes = 8 }
train = { way = 5, episodes = 4, validate_every = 3, validation_episodes = 6, validation_way = 4 }
[[runs]]
datasets = ["glyphs"]
ways = [3]
shots = [1, 2]
"""


def suite_arguments(tmp_path: Path, suite: Path, *more: str, algo: str = "chance,nearest-mean") -> list[str]:
    return [
        "run",
        "--algo",
        algo,
        "--suite",
        str(suite),
        "--home",
        str(tmp_path / "home"),
        "-q",
        "--no-download",
        *more,
    ]


def answer(capsys: pytest.CaptureFixture[str], args: list[str], code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*args, "--json"]) == code
    return json.loads(capsys.readouterr().out)
