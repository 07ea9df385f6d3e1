"""Comparing a run that was interrupted with one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabench.models.checkpoints import load_tensors
from tests.tiny import record_of


def weights_of(home: Path) -> dict[str, Tensor]:
    (path,) = (home / "models").glob("*/weights.safetensors")
    return load_tensors(path)[0]


def check_same(home: Path, row: dict[str, Any], whole: Path) -> None:
    """The record and the weights in `home` are those of the run that nobody interrupted."""
    here, there = record_of(home, row), record_of(whole, row)
    assert here["scores"] == there["scores"]
    assert here["summary"] == there["summary"]
    for name in ("curve", "best_episode", "best_loss", "episode"):
        assert here["training"][name] == there["training"][name]
    mine, theirs = weights_of(home), weights_of(whole)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
