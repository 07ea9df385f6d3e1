"""The committed records can be checked: their weights give the same answers to the same episodes again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from metabench.cli.main import main
from metabench.cli.reproduce import ROUNDING
from metabench.leaderboard.curated import read_invalidated
from metabench.records.record import Record, read_record
from metabench.registry.registry import availability, load_registry
from metabench.runtime.devices import emulates
from metabench.runtime.provenance import provenance
from metabench.utils.hashing import file_sha256
from tests.plugins.test_cifar100 import real_cifar
from tests.plugins.test_mini_imagenet import real_mini_imagenet
from tests.plugins.test_omniglot_lake import real_runs

ROOT = Path(__file__).parent.parent.parent
BOARD = ROOT / "leaderboards"
DATA = Path(os.environ.get("METABENCH_DATA") or ROOT.parent / "shared/data")
INVALID = read_invalidated(BOARD / "invalidated.toml")
RECORDS = [
    path for path in sorted((BOARD / "records").glob("*.json")) if read_record(path).key not in INVALID
]  # fmt: skip


SLOW = ("reptile",)
"""Algorithms that take minutes with 50 inner steps and more: of theirs, 100 episodes are measured again."""
LARGE = ("maml", 100)
"""An algorithm that adapts the whole network takes minutes from so many support images on: the same."""
COARSE = 0.25
"""A share of differing episodes that is let pass in bfloat16 on another processor than the record's: each inner step
rounds to three digits, there otherwise than here."""
NEEDED = {
    "mini-imagenet": real_mini_imagenet,
    "cifar-fs": real_cifar,
    "fc100": real_cifar,
    "omniglot-lake": real_runs,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def _weights(record: Record) -> Path | None:
    return BOARD / "weights" / f"{record.weights_sha256}.safetensors" if record.training else None


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_weights_of_a_record_are_committed(path: Path) -> None:
    weights = _weights(read_record(path))
    assert weights is None or file_sha256(weights) == weights.stem


def _of_text(path: Path) -> bool:
    spec = load_registry().datasets.get(read_record(path).inputs.dataset.name)
    return spec is not None and spec.kind == "text"


TEXT = [path for path in RECORDS if _of_text(path)]


@pytest.mark.realdata
@pytest.mark.parametrize("path", TEXT, ids=lambda path: path.stem)
def test_a_record_of_text_replays(path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its first episodes: there are many such records, and all of them score features that cannot be trained."""
    if not (DATA / "text").is_dir():
        pytest.skip("no folder text in METABENCH_DATA or ../shared/data")
    backbone = load_registry().find("backbone", read_record(path).inputs.backbone.name)
    if lacking := availability(backbone):
        pytest.skip(f"{backbone.name} {lacking}")
    words = ["reproduce", str(path), "--home", str(home), "--data", str(DATA), "--json", "--quiet", "--no-download"]
    code = main([*words, "--device", "cpu", "--episodes", "100"])
    output = capsys.readouterr()
    assert code in (0, 1), output.err
    found = json.loads(output.out)
    assert found["episodes"] == 100
    assert len(found["differing"]) <= 1 + ROUNDING * 100


@pytest.mark.realdata
@pytest.mark.parametrize("path", [path for path in RECORDS if path not in TEXT], ids=lambda path: path.stem)
def test_a_record_replays(path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All episodes again from the committed weights, but of what takes minutes: the same images and integers."""
    record = read_record(path)
    data, algorithm = record.inputs.dataset.name, record.inputs.algorithm
    cell = record.inputs.protocol.params
    slow = algorithm["name"] in SLOW and algorithm["params"]["test_steps"] > 10
    slow |= algorithm["name"] == LARGE[0] and cell.get("way", 1) * cell["shot"] >= LARGE[1]
    if data in NEEDED:
        NEEDED[data]()  # skips where it is missing
    if data == "omniglot" and not (DATA / "images_evaluation.zip").is_file():
        pytest.skip("no Omniglot zips in METABENCH_DATA or ../shared/data")
    if emulates(torch.device("cpu"), record.inputs.precision):
        pytest.skip("this processor has no bfloat16 arithmetic: 2,000 episodes would take hours")
    words = ["reproduce", str(path), "--home", str(home), "--json", "--quiet", "--no-download", "--device", "cpu"]
    words += ["--data", str(DATA)] if DATA.is_dir() else []
    code = main([*words, "--episodes", "100" if slow else "1000000"])
    output = capsys.readouterr()
    assert code in (0, 1), output.err
    found = json.loads(output.out)
    if slow:
        assert found["episodes"] == 100
        assert len(found["differing"]) <= 1 + ROUNDING * 100
        return
    assert found["episodes"] == found["total"]
    assert found["same_episodes"] is True
    # Another processor rounds differently, which may turn a near tie, but no more than that.
    elsewhere = record.provenance.cpu != provenance(torch.device("cpu"))["cpu"]
    coarse = elsewhere and record.inputs.precision == "bfloat16"
    assert len(found["differing"]) <= (COARSE if coarse else ROUNDING) * found["total"]
    assert (code == 0) == (not found["differing"] and found["same_classes"] is True)
