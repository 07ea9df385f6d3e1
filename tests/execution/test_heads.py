"""Runs of heads that ask the harness for more than vectors, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.records.checkpoint_metadata import tensors_meta
from tests.tiny import arguments, record_of, run_json

SAME_WAY: dict[str, object] = {"train.way": 0, "train.validation_way": 0}
HEADS = str(Path(__file__).parent.parent / "right_heads.py")


def error_of(capsys: pytest.CaptureFixture[str], args: list[str]) -> str:
    capsys.readouterr()
    assert main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_a_head_for_one_way_is_trained_for_each(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    args = arguments(home, "--plugin", HEADS, algo="one-way", settings=SAME_WAY)
    rows = run_json(capsys, [*args, "--ways", "3,4"])
    assert [row["status"] for row in rows] == ["ok", "ok"]
    keys = [record_of(home, row)["training"]["training_key"] for row in rows]
    files = [home / "models" / key / "weights.safetensors" for key in keys]
    assert [tensors_meta(file)["way"] for file in files] == [3, 4]
    again = [*arguments(home, "--plugin", HEADS, "--checkpoint", str(files[0]), algo="one-way"), "--ways"]
    (row,) = run_json(capsys, [*again, "3"])
    assert row["accuracy"] == rows[0]["accuracy"]
    assert error_of(capsys, [*again, "4"]).endswith(" is for tasks of 3 classes, and these have 4; check --ways")


def test_a_scoring_parameter_shares_a_training_whoever_comes_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trained = []
    for folder, shares in (("a", (1.0, 0.0)), ("b", (0.0, 1.0))):
        for share in shares:
            settings = {**SAME_WAY, "algo.share": share, "train.episodes": 40, "train.lr": 0.05}
            args = arguments(tmp_path / folder, "--plugin", HEADS, algo="one-way", settings=settings)
            (row,) = run_json(capsys, args)
            training = record_of(tmp_path / folder, row)["training"]
            trained.append((training["training_key"], training["weights_sha256"]))
        assert len(list((tmp_path / folder / "models").iterdir())) == 1
    assert len(set(trained)) == 1


@pytest.mark.parametrize(
    ("more", "settings", "message"),
    [
        (
            ["--ways", "4"],
            {"train.way": 3},
            "error: cannot evaluate one-way at 4 ways with train.way=3: its weights fit one number of classes. Use "
            "--set train.way=0, which is that of the evaluation.",
        ),
        (["--ways", "4"], {"train.validation_way": 3}, "with train.validation_way=3: its weights fit one number of"),
        (
            ["--protocol", "meta-dataset"],
            {},
            "error: one-way is made for one number of classes, and episodes of 'meta-dataset' differ in it",
        ),
        (["--protocol", "generalised"], {}, "'generalised' adds all base classes to those of an episode; use an"),
    ],
)
def test_a_head_for_one_way_is_refused_elsewhere(
    capsys: pytest.CaptureFixture[str], home: Path, more: list[str], settings: dict[str, object], message: str
) -> None:
    args = arguments(home, "--plugin", HEADS, *more, algo="one-way", settings={**SAME_WAY, **settings})
    assert message in error_of(capsys, args)


def test_a_head_that_reads_maps_is_refused_before_anything_is_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = ["run", "--algo", "protonet,local-match", "--backbone", "conv4-strided", "--plugin", HEADS, "--quiet"]
    line = error_of(capsys, [*args, "--home", str(tmp_path)])
    assert line.startswith("error: cannot run local-match on backbone 'conv4-strided': it reads feature maps, and")
    assert not list(tmp_path.glob("models/*"))


@pytest.mark.parametrize(("algo", "backbone"), [("tuned", "pixels"), ("local-match", "conv4-strided-flat")])
def test_heads_are_evaluated(capsys: pytest.CaptureFixture[str], home: Path, algo: str, backbone: str) -> None:
    """With gradients, or on maps."""
    args = ["run", "--algo", algo, "--backbone", backbone, "--plugin", HEADS, "--episodes", "60", "--quiet"]
    (row,) = run_json(capsys, [*args, "--home", str(home)])
    assert row["status"] == "ok" and row["accuracy"] > 35
