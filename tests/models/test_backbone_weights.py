"""``--set backbone.weights=FILE``: any backbone starts from a file, and the record says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from metabench.cli.main import main
from metabench.models.checkpoints import load_body
from metabench.utils.hashing import file_sha256
from metabench_backbones.conv4 import Conv4
from tests.tiny import SETTINGS, arguments, record_of, run_json


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home with a tiny trained ProtoNet, and its weights."""
    home = tmp_path_factory.mktemp("home")
    assert main(arguments(home)) == 0
    (weights,) = home.glob("models/*/weights.safetensors")
    return home, weights


def frozen(home: Path, weights: Path, **more: Any) -> list[str]:
    """Arguments of nearest mean on the backbone in `weights`."""
    data = {name: value for name, value in SETTINGS.items() if name.startswith("data.")}
    settings = {**data, "backbone.channels": 4, "backbone.weights": weights, **more}
    pairs = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return ["run", "--algo", "nearest-mean", "--backbone", "conv4", "--episodes", "60", "--home", str(home), *pairs]


def test_the_backbone_of_a_checkpoint_embeds_as_it_did_there(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nearest mean on the backbone of a ProtoNet is that ProtoNet: the same correct answers in every episode."""
    home, weights = trained
    (learned,), (row,) = run_json(capsys, arguments(home)), run_json(capsys, frozen(home, weights))
    record = record_of(home, row)
    assert record["scores"]["correct"] == record_of(home, learned)["scores"]["correct"]
    assert record["inputs"]["backbone"]["weights_sha256"] == file_sha256(weights)
    assert record["inputs"]["backbone"]["trained_on"] == "unknown"
    assert record["provenance"]["local"] == ["backbone conv4"]  # others do not have the file
    (again,) = run_json(capsys, frozen(home, weights))
    (said,) = run_json(capsys, frozen(home, weights, **{"backbone.trained_on": "glyphs"}))
    assert again["cached"] and record_of(home, said)["inputs"]["backbone"]["trained_on"] == "glyphs"


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"backbone.channels": 8}, 2, "blocks.0.conv.weight is (4, 1, 3, 3) there and (8, 1, 3, 3) in this backbone"),
        ({"backbone.weights": "gone.safetensors"}, 3, "no weights at gone.safetensors"),
    ],
)
def test_what_does_not_fit_is_named(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str], settings: dict[str, Any], code: int, message: str
) -> None:
    assert main(frozen(*trained, **settings)) == code
    assert message in capsys.readouterr().err


def test_trained_on_alone_is_no_setting(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    args = ["run", "--algo", "nearest-mean", "--backbone", "conv4", "--set", "backbone.trained_on=x", "--quiet"]
    assert main([*args, "--home", str(trained[0])]) == 2
    assert "has no parameter 'trained_on'" in capsys.readouterr().err


def test_a_plain_file_with_a_classifier_beside_the_body(tmp_path: Path) -> None:
    body, other = Conv4((1, 16, 16), 4), Conv4((1, 16, 16), 4)
    tensors = {name: value.contiguous() for name, value in body.state_dict().items() if "num_batches" not in name}
    save_file({**tensors, "fc.weight": torch.zeros(3, 4)}, tmp_path / "body.safetensors")
    load_body(other, tmp_path / "body.safetensors")
    assert all(torch.equal(other.state_dict()[name], value) for name, value in tensors.items())
