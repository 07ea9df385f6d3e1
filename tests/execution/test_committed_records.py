"""The committed records can be checked: their weights give the same answers to the same episodes again."""

from __future__ import annotations

import faulthandler
import json
import os
from pathlib import Path

import pytest
import torch

from metabench.cli.main import main
from metabench.cli.reproduce import ROUNDING_SHARE
from metabench.leaderboard.maintainer_files import read_invalidated
from metabench.records.record import Record, read_record
from metabench.registry.registry import availability, load_registry
from metabench.runtime.devices import emulates
from metabench.runtime.provenance import run_provenance
from metabench.utils.hashing import file_sha256
from tests.plugins.test_cifar100 import real_cifar
from tests.plugins.test_mini_imagenet import real_mini_imagenet
from tests.plugins.test_omniglot_lake import real_runs
from tests.replays import Replays, choose_replays, most_differing

ROOT = Path(__file__).parent.parent.parent
BOARD = ROOT / "leaderboards"
DATA = Path(os.environ.get("METABENCH_DATA") or ROOT.parent / "shared/data")
INVALID = {key[:12] for key in read_invalidated(BOARD / "invalidated.toml")}
RECORDS = [path for path in sorted((BOARD / "records").glob("*.json")) if path.stem[-12:] not in INVALID]


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
def home(shared_folder: Path) -> Path:
    return shared_folder / "real-home"


@pytest.fixture(scope="module")
def replays(request: pytest.FixtureRequest) -> Replays:
    return choose_replays(request.config.getoption("--replay"), BOARD / "records")


def _weights(record: Record) -> Path | None:
    return BOARD / "weights" / f"{record.weights_sha256}.safetensors" if record.training else None


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_weights_of_a_record_are_committed(path: Path) -> None:
    weights = _weights(read_record(path))
    assert weights is None or file_sha256(weights) == weights.stem


@pytest.mark.realdata
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_replays(path: Path, home: Path, replays: Replays, capsys: pytest.CaptureFixture[str]) -> None:
    """The first episodes again from the committed weights, or all of them: the same images and integers."""
    record = read_record(path)
    _skip_without_its_data(record)
    closed = record.inputs.evaluation.sampling == "closed"  # else the episodes depend on how many there are
    episodes = replays.episodes(path.name, record) if closed else None
    if episodes is None:
        faulthandler.cancel_dump_traceback_later()  # all 2,000 take up to 1,000 s, longer than a test may
    words = ["reproduce", str(path), "--home", str(home), "--json", "--quiet", "--no-download", "--device", "cpu"]
    words += ["--data", str(DATA)] if DATA.is_dir() else []
    code = main([*words, "--episodes", str(episodes or record.inputs.evaluation.episodes)])
    output = capsys.readouterr()
    assert code in (0, 1), output.err
    found = json.loads(output.out)
    assert found["episodes"] == min(episodes or found["total"], found["total"])
    whole = found["episodes"] == found["total"]
    if whole:
        assert found["same_episodes"] is True
    # Another processor rounds differently, which may turn a near tie, but no more than that.
    elsewhere = record.provenance.cpu != run_provenance(torch.device("cpu"))["cpu"]
    share = COARSE if elsewhere and record.inputs.precision == "bfloat16" else ROUNDING_SHARE
    assert len(found["differing"]) <= most_differing(share, found["episodes"], whole)
    assert (code == 0) == (not found["differing"] and (found["same_classes"] is True or not whole))


def _skip_without_its_data(record: Record) -> None:
    registry = load_registry()
    data = record.inputs.dataset.name
    if data in NEEDED:
        NEEDED[data]()  # skips where it is missing
    if data == "omniglot" and not (DATA / "images_evaluation.zip").is_file():
        pytest.skip("no Omniglot zips in METABENCH_DATA or ../shared/data")
    if registry.find("dataset", data).kind == "text" and not (DATA / "text").is_dir():
        pytest.skip("no folder text in METABENCH_DATA or ../shared/data")
    backbone = registry.find("backbone", record.inputs.backbone.name)
    if lacking := availability(backbone):
        pytest.skip(f"{backbone.name} {lacking}")
    if emulates(torch.device("cpu"), record.inputs.precision):
        pytest.skip("this processor has no bfloat16 arithmetic: 2,000 episodes would take hours")
