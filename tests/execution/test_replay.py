from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main
from metabench.errors import MissingError, UsageError
from metabench.execution.replay import _refuse_other_inputs, find_weights
from metabench.records.record import Record, build_record, read_record, write_record
from metabench.utils.hashing import file_sha256
from metabench.utils.home import Home
from tests.record_factory import changed, decoded, make_inputs, make_record, plain_of
from tests.tiny import arguments, record_of, run_json

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(home: Path) -> Record:
    """The record of a tiny run with training; its weights are in the store."""
    capture = arguments(home)
    assert main([*capture, "--json"]) == 0
    (path,) = (path for path in (home / "records").glob("*.json") if read_record(path).training)
    return read_record(path)


def _board(folder: Path, record: Record, home: Path | None) -> Path:
    """Write a record as it stands on a leaderboard, with its weights beside it if `home` has them."""
    path = folder / "records" / "record.json"
    write_record(path, record)
    if home is not None:
        (folder / "weights").mkdir()
        source = home / "models" / record.training.training_key / "weights.safetensors"
        shutil.copyfile(source, folder / "weights" / f"{record.weights_sha256}.safetensors")
    return path


def _reproduce(path: Path, home: Path, *more: str) -> int:
    return main(["reproduce", str(path), "--home", str(home), "--quiet", "--no-download", *more])


def test_a_stored_run_is_reproduced_by_its_key(trained: Record, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in (home / "records").iterdir())
    assert main(["reproduce", trained.short_key, "--home", str(home), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("reproduced: the first 50 of 60 episodes have the same answers (protonet on glyphs, record ")
    assert sorted(path.name for path in (home / "records").iterdir()) == before, "a replay is no run"
    assert not list((home / "partial").glob("*"))


def test_a_submitted_record_is_reproduced_from_the_weights_beside_it(
    trained: Record, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _board(tmp_path / "board", trained, home)
    assert _reproduce(path, tmp_path / "fresh", "--json", "--episodes", "1000") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["reproduced"], found["episodes"], found["total"], found["differing"]) == (True, 60, 60, [])
    assert (found["same_episodes"], found["same_classes"]) == (True, True)
    assert found["weights"].endswith(f"{trained.weights_sha256}.safetensors")


def _rebuilt(record: Record, edit: Edit) -> Record:
    """Return a record with other contents whose key and summary fit them: what a forger would send."""
    copy = plain_of(record)
    edit(copy)
    return build_record(
        copy["inputs"],
        "ok",
        scores=copy["scores"],
        training=copy["training"],
        provenance=copy["provenance"],
    )


def _better(record: dict[str, Any]) -> None:
    """Raise the counts of two episodes, and leave out the sums by class, which would not fit."""
    record["scores"]["classes"] = None
    for episode in (7, 30):
        record["scores"]["correct"][episode] = 75 if record["scores"]["correct"][episode] != 75 else 74


def test_made_up_answers_are_found(
    trained: Record, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = _rebuilt(trained, _better)
    path = _board(tmp_path / "board", forged, home)
    assert _reproduce(path, home) == 1
    said = capsys.readouterr()
    here, there = trained.measured.correct[7], forged.measured.correct[7]
    assert said.out.startswith(
        f"differs in 2 of 50 episodes; the first is episode 7, {here} correct here and {there} in the record"
    )
    assert said.err == ""
    assert _reproduce(path, home, "--episodes", "7") == 0, "the first seven are as they were"
    capsys.readouterr()
    assert _reproduce(path, home, "--json") == 1
    assert json.loads(capsys.readouterr().out)["differing"] == [7, 30]


def test_other_episodes_are_found(
    trained: Record, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = _rebuilt(trained, lambda record: record["scores"].update(episodes_digest="ab" * 32))
    assert _reproduce(_board(tmp_path / "board", forged, home), home, "--episodes", "60") == 1
    assert "the images of the episodes are not those of the record" in capsys.readouterr().out


def test_other_sums_by_class_are_found(
    trained: Record, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def move(record: dict[str, Any]) -> None:
        sums = record["scores"]["classes"]["correct"]
        sums[0], sums[1] = sums[0] - 1, sums[1] + 1

    assert _reproduce(_board(tmp_path / "board", _rebuilt(trained, move), home), home, "--episodes", "60") == 1
    assert "the sums by class are not those of the record" in capsys.readouterr().out


def _set(part: str, name: str, value: Any) -> Edit:
    return lambda record: record["inputs"][part].update({name: value})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_set("algorithm", "name", "unheard-of"), "needs the algorithm 'unheard-of', which no installed plugin"),
        (_set("algorithm", "version", 99), "version 99 of the algorithm 'protonet', and version"),
        (_set("backbone", "params", {"channels": 4, "depth": 3}), "the installed backbone 'conv4' is not that of"),
        (_set("backbone", "params", {}), "cannot replay the record here: checkpoint"),  # the default has other shapes
        (
            _set("protocol", "params", {"way": 5, "shot": 1, "query": 5000}),
            "cannot replay the record here: 1 shot + 5,000 query",
        ),
        (_set("backbone", "trained_on", "the web"), "inputs.backbone.trained_on is 'the web' there and '' here"),
        (
            _set("dataset", "digest", "ab" * 32),
            "the data are not those of the record: inputs.dataset.digest is 'abababababab'",
        ),
        (_set("algorithm", "setting", "transductive"), "inputs.algorithm.setting is 'transductive' there"),
        (lambda record: record.update(training=None), "does not say which weights it is of"),
        (
            lambda record: record["training"].update(weights_sha256="ab" * 32, training_key="x"),
            "no weights abababababab at",
        ),
    ],
)
def test_what_is_missing_is_said_and_no_traceback(
    trained: Record, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit, message: str
) -> None:
    forged = _rebuilt(trained, edit)
    with_weights = forged.training == trained.training
    path = _board(tmp_path / "board", forged, home if with_weights else None)
    assert _reproduce(path, home) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_another_version_can_be_tried(
    trained: Record, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _board(tmp_path / "board", _rebuilt(trained, _set("algorithm", "version", 99)), home)
    assert _reproduce(path, home) == 3
    # The name of the episodes does not hold the algorithm, so they are the same, and so are the answers.
    assert _reproduce(path, home, "--any-version") == 0


def test_a_floor_needs_no_weights(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, arguments(home, algo="chance"))
    path = _board(tmp_path / "board", decoded(record_of(home, row)), None)
    assert _reproduce(path, home) == 0
    assert _reproduce(path, home, "--checkpoint", str(path)) == 2
    assert "needs no weights" in capsys.readouterr().err


def test_open_sampling_is_replayed_as_a_whole(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, arguments(home, "--sampling", "open", "--query", "2", algo="nearest-mean"))
    words = ["reproduce", row["key"], "--home", str(home), "--quiet", "--json", "--episodes", "1"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == found["total"] == row["episodes"]
    assert found["same_episodes"] is True


def test_a_run_that_stopped_by_its_width_is_replayed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, arguments(home, "--until-ci", "20", algo="nearest-mean"))
    assert main(["reproduce", row["key"], "--home", str(home), "--quiet", "--json", "--episodes", "100000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == found["total"] == row["episodes"]


def test_weights_are_only_taken_with_the_right_checksum(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    sha256 = file_sha256(tmp_path / "w.safetensors")
    record = changed(make_record(), training={"weights_sha256": sha256, "training_key": "cd" * 32})
    home = Home(tmp_path)
    with pytest.raises(MissingError, match="--checkpoint"):
        find_weights(record, home)
    stored = home.weights("cd" * 32)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"others")
    with pytest.raises(MissingError, match=f"no weights {sha256[:12]}"):
        find_weights(record, home)
    stored.write_bytes(b"weights")
    assert find_weights(record, home) == stored
    assert find_weights(record, home, given=tmp_path / "w.safetensors") == tmp_path / "w.safetensors"
    (tmp_path / "w.safetensors").write_bytes(b"others")
    with pytest.raises(UsageError, match="and the record is of weights"):
        find_weights(record, home, given=tmp_path / "w.safetensors")
    with pytest.raises(MissingError, match="no checkpoint at"):
        find_weights(record, home, given=tmp_path / "absent")


def test_only_a_run_that_succeeded_can_be_reproduced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path / "r.json", build_record(make_inputs(), "interrupted"))
    assert main(["reproduce", str(tmp_path / "r.json"), "--home", str(tmp_path)]) == 1
    assert "its run is interrupted. Pass the record of a finished run" in capsys.readouterr().err


def test_long_parameters_are_told_by_what_differs() -> None:
    params = {f"p{number}": "a long value of no matter" for number in range(9)}
    theirs, ours = (make_record(protocol__params={**params, "p8": text}) for text in (params["p8"], "another"))
    with pytest.raises(MissingError) as caught:
        _refuse_other_inputs(theirs.inputs, ours.inputs)
    assert str(caught.value) == (
        "inputs.protocol.params is {'p8': 'a long value of no matter'} there and {'p8': 'another'} here"
    )
