"""The committed records can be checked: their weights give the same answers to the same episodes again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.main import main
from metabench.keys import file_sha256
from metabench.records import read_record

ROOT = Path(__file__).parent.parent
RECORDS = sorted((ROOT / "leaderboards/records").glob("*.json"))
WEIGHTS = ROOT / "leaderboards/weights"
DATA = Path(os.environ.get("METABENCH_DATA") or ROOT.parent / "shared/data")


def _weights(record: dict[str, Any]) -> Path | None:
    return WEIGHTS / f"{record['training']['weights_sha256']}.safetensors" if record["training"] else None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_weights_of_a_record_are_committed(path: Path) -> None:
    weights = _weights(read_record(path))
    assert weights is None or file_sha256(weights) == weights.stem


@pytest.mark.realdata
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_replays(path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All episodes again from the committed weights: the same images, and the same integers."""
    if not (DATA / "images_evaluation.zip").is_file():
        pytest.skip("no Omniglot zips in METABENCH_DATA or ../shared/data")
    record = read_record(path)
    inputs, weights = record["inputs"], _weights(record)
    cell = inputs["protocol"]["params"]
    words = f"run --algo {inputs['algorithm']['name']} --dataset {inputs['dataset']['name']} --json --quiet"
    words += f" --backbone {inputs['backbone']['name']} --ways {cell['way']} --shots {cell['shot']}"
    words += f" --episodes {inputs['evaluation']['episodes']} --home {home} --data {DATA} --device cpu"
    args = words.split()
    for name, value in inputs["algorithm"]["params"].items():
        args += ["--set", f"algo.{name}={value}"]
    assert main([*args, *(["--checkpoint", str(weights)] if weights else [])]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    scores = json.loads((home / "records" / f"{row['key']}.json").read_text())["scores"]
    assert scores["episodes_digest"] == record["scores"]["episodes_digest"]
    differ = np.not_equal(scores["correct"], record["scores"]["correct"])
    # Another processor rounds differently, which may turn a near tie, but no more than that.
    assert differ.mean() <= 0.005
