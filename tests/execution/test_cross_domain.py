"""Trained on one dataset, measured on another: weights shared with the first, both named, and shapes that must fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.leaderboard.entries import Entry
from metabench.leaderboard.page_text import training
from metabench.leaderboard.rows import group_rows
from metabench.registry.registry import clear_registry
from tests.record_factory import decoded
from tests.tiny import arguments, record_of, run_json

OTHER = """
import numpy as np
from metabench.api import ClassSplit, DatasetSpec, Param, hookimpl

class Stripes:
    def __init__(self, side):
        self.side = side

    def load(self, split, context):
        rng = np.random.Generator(np.random.Philox(len(split)))
        images = rng.integers(0, 256, (8 * 20, self.side, self.side, 1), dtype=np.uint8)
        return ClassSplit(images, np.arange(0, 161, 20), tuple(f"{split}{c}" for c in range(8)))

@hookimpl
def metabench_datasets():
    return [DatasetSpec(
        name="stripes", version=1, target="stripes:Stripes", summary="noise", reference="none", licence="MIT",
        params=(Param("side", 28, "pixels"),), image_shape=(1, 28, 28), sizes={}, digests={},
    )]
"""


@pytest.fixture
def stripes(tmp_path: Path):
    path = tmp_path / "stripes.py"
    path.write_text(OTHER)
    yield str(path)
    clear_registry()


def test_from_one_dataset_to_another(tmp_path: Path, stripes: str, capsys: pytest.CaptureFixture[str]) -> None:
    home, plugin = tmp_path / "home", ["--plugin", stripes]
    (own,) = run_json(capsys, arguments(home, "--dataset", "glyphs", *plugin))
    cross_args = arguments(home, "--dataset", "stripes,glyphs", "--train-dataset", "glyphs", *plugin)
    cross, again = run_json(capsys, cross_args)
    assert again["key"] == own["key"] and again["cached"] and own["train_dataset"] == ""
    assert (cross["dataset"], cross["train_dataset"]) == ("stripes", "glyphs")
    mine, theirs = record_of(home, own), record_of(home, cross)
    assert theirs["training"]["weights_sha256"] == mine["training"]["weights_sha256"]  # trained once
    assert theirs["inputs"]["training"]["digests"] == mine["inputs"]["training"]["digests"]
    assert theirs["inputs"]["training"]["dataset"] == {
        name: mine["inputs"]["dataset"][name] for name in ("name", "version", "params")
    }
    assert theirs["inputs"]["dataset"]["digest"] != mine["inputs"]["dataset"]["digest"]
    assert len(list((home / "models").glob("*/weights.safetensors"))) == 1

    assert main(cross_args) == 0
    assert "glyphs -> stripes" in capsys.readouterr().out
    assert main(["list", "runs", "--home", str(home)]) == 0
    assert "glyphs -> stripes" in capsys.readouterr().out
    (row,) = group_rows([Entry(decoded(theirs), "file.json")])
    assert training(row).startswith("glyphs -> stripes, seed 0")
    assert main(["reproduce", cross["key"][:12], "--home", str(home), *plugin]) == 0
    assert "reproduced: the first 50 of 60 episodes" in capsys.readouterr().out


def test_shapes_that_do_not_fit(tmp_path: Path, stripes: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = arguments(tmp_path, "--dataset", "stripes", "--train-dataset", "glyphs", "--plugin", stripes)
    assert main([*args, "--set", "data.side=32"]) == 2
    assert (
        "items of 'glyphs' are 28x28x1 and those of 'stripes' 32x32x1, so what is trained on the one cannot read the "
        "other; take a dataset of the same shape" in capsys.readouterr().err
    )
    assert not list((tmp_path / "records").glob("*.json"))


def test_another_protocol_shares_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own,) = run_json(capsys, arguments(tmp_path))
    (odd,) = run_json(capsys, arguments(tmp_path, "--protocol", "dirichlet", "--query", "4"))
    mine, theirs = record_of(tmp_path, own), record_of(tmp_path, odd)
    assert theirs["training"]["weights_sha256"] == mine["training"]["weights_sha256"]
    assert theirs["scores"]["n_query"] == 20
    assert Entry(decoded(theirs), "").cell.title == "dirichlet 5-way 1-shot"
    assert Entry(decoded(mine), "").cell.title == "5-way 1-shot"
