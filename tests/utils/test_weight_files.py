"""A file that holds no weights is named by its kind in one line, whatever it is given to; nothing is unpickled."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from metabench.cli.main import main
from metabench.utils.weight_files import require_weights_file


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return pytest.fail, ("unpickled",)


def make(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.pth"
    if kind == "folder":
        path.mkdir()
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    elif kind == "torch":
        torch.save({"a": torch.ones(2)}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights.bin", b"x")
    elif kind != "gone":
        path.write_bytes({"empty": b"", "text": b"these are no weights at all"}[kind])
    return path


KINDS = {
    "folder": (2, "it is a folder. Name a .safetensors file."),
    "pickle": (
        2,
        "it is a PyTorch pickle, which is never opened here. Convert its state dictionary: safet",
    ),
    "torch": (2, "it is a PyTorch pickle, which is never opened here. Convert its state dictionary: safet"),
    "zip": (2, "it is a zip archive. Pass a .safetensors file."),
    "empty": (2, "the file is empty. Pass a .safetensors file."),
    "text": (2, "it is not a safetensors file. Pass a .safetensors file."),
    "gone": (3, "takes a .safetensors file"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "words",
    [
        ["run", "--algo", "protonet", "--checkpoint", "FILE"],
        ["run", "--algo", "protonet", "--checkpoint", "FILE", "--dry-run"],
        ["run", "--algo", "nearest-mean", "--backbone", "conv4", "--checkpoint", "FILE"],
        ["run", "--algo", "nearest-mean", "--backbone", "conv4", "--set", "backbone.weights=FILE"],
        ["predict", "--support", ".", "--query", ".", "--checkpoint", "FILE"],
    ],
)
def test_one_line_says_what_it_is(
    words: list[str], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    path = make(tmp_path, kind)
    code, message = KINDS[kind]
    assert main([word.replace("FILE", str(path)) for word in words]) == code
    err = capsys.readouterr().err
    assert message in err and err.startswith("error: ") and err.count("\n") == 1


def test_the_advice_converts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, "torch")
    with pytest.raises(Exception, match="Convert") as caught:
        require_weights_file(path, "")
    advice = str(caught.value).partition("Convert its state dictionary: safetensors.torch.")[2]
    eval(advice, {"torch": torch, "save_file": save_file})
    require_weights_file(path.with_suffix(".safetensors"), "")
