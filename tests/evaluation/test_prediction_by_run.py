"""Images are labelled as a stored run did."""

from __future__ import annotations

from pathlib import Path

import pytest

import metabench
from metabench.cli.main import main
from tests.evaluation.test_prediction import labelled, photos, trained, training_key
from tests.photos import make_folder
from tests.tiny import arguments, run_json

__all__ = ["photos"]


def test_a_run_says_everything(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its key or the file of its record, one that was trained and one that was not."""
    home = photos / "home"
    (row,) = run_json(capsys, arguments(home, "--ways", "3", algo="protonet"))
    by_hand = labelled(capsys, "--checkpoint", str(home / "models" / training_key(home, row) / "weights.safetensors"))
    assert labelled(capsys, "--run", row["key"][:12]) == by_hand
    record = str(home / "records" / f"{row['key']}.json")
    assert labelled(capsys, "--run", record, "--home", str(home)) == by_hand
    table = metabench.predict("known", "new", run=row["key"][:12], home=home)
    assert table["class"].tolist() == [image["class"] for image in by_hand]
    (pixels,) = run_json(capsys, arguments(home, "--ways", "3", algo="nearest-mean"))
    words = ["--algo", "nearest-mean", "--size", "28", "--colour", "grey"]
    assert labelled(capsys, "--run", pixels["key"]) == labelled(capsys, *words)


def test_a_run_on_a_folder_says_how_its_images_were_prepared(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, split in enumerate(("train", "val", "test")):
        make_folder(photos / "animals" / split, {f"{split}{index}": 20 for index in range(5)}, 10 * number)
    sets = ["data.size=16", "data.fit=pad", "pretrain.epochs=1", "pretrain.validate_every=1", "backbone.channels=4"]
    words = ["run", "--dataset", "folder:animals", "--algo", "simpleshot", "--quiet", "--episodes", "20"]
    words += ["--set", "pretrain.validation_episodes=5"]
    (row,) = run_json(capsys, [*words, *(word for pair in sets for word in ("--set", pair))])
    found = labelled(capsys, "--run", row["key"])
    weights = str(photos / "home" / "models" / training_key(photos / "home", row) / "weights.safetensors")
    assert labelled(capsys, "--checkpoint", weights) == found
    assert labelled(capsys, "--checkpoint", weights, "--size", "16", "--fit", "pad") == found
    assert labelled(capsys, "--checkpoint", weights, "--fit", "crop") != found


def test_a_run_that_cannot_label(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = photos / "home"
    (row,) = run_json(capsys, arguments(home, "--ways", "3", algo="protonet"))
    command = ["predict", "--support", "known", "--query", "new", "--run"]
    capsys.readouterr()
    for more, code, message in (
        ([row["key"], "--algo", "maml"], 2, "cannot apply --algo: --run says it already. Leave out one of the two"),
        ([row["key"], "--checkpoint", "x"], 2, "cannot apply --checkpoint: --run says it already"),
        (["0" * 12], 2, "no record '000000000000' in"),
        (["protonet"], 2, "'protonet' is not a record key"),
    ):
        assert main([*command, *more]) == code
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    (home / "models" / training_key(home, row) / "weights.safetensors").unlink()
    assert main([*command, row["key"]]) == 3
    assert "error: no weights " in capsys.readouterr().err


def test_a_run_that_started_from_a_file_needs_the_file(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = photos / "home"
    weights = trained(home, capsys, "protonet")
    file = ["--set", f"backbone.weights={weights}"]
    (row,) = run_json(capsys, arguments(home, "--ways", "3", "--backbone", "conv4", *file, algo="nearest-mean-l2n"))
    assert main(["predict", "--support", "known", "--query", "new", "--run", row["key"]]) == 2
    assert "are in a file of yours. Pass it with --checkpoint, --algo and --backbone" in capsys.readouterr().err
    assert len(labelled(capsys, "--checkpoint", weights, "--algo", "nearest-mean-l2n", "--backbone", "conv4")) == 12
