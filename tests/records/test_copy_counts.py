"""The same item twice: a run warns once, its record and every table say so, and verify lists the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import metabench
from metabench.cli.main import main
from metabench.execution.run_fingerprints import made_for
from metabench.execution.session import Session
from metabench.execution.training_data import seen_by
from metabench.models.checkpoints import save_tensors
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.records.checks import RecordError
from metabench.records.copy_counts import copies_words, most
from metabench.utils.console import Console
from metabench.utils.home import Home
from tests.photos import make_folder, picture
from tests.record_factory import changed, make_record
from tests.tiny import record_of, run_json

CLASSES = dict.fromkeys("abcdef", 4)
COUNTS = {"within_class": 2, "between_classes": 1}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six classes of five: two files are copies in their class, one in another."""
    folder = make_folder(tmp_path / "photos", CLASSES)
    for number in (7, 8):
        shutil.copy(folder / "a" / "000.png", folder / "a" / f"{number:03}.png")
    shutil.copy(folder / "c" / "000.png", folder / "b" / "c.png")
    return folder


def command(folder: Path, home: Path, *more: str, algo: str = "nearest-mean") -> list[str]:
    return ["run", "--algo", algo, "--dataset", f"folder:{folder}", "--query", "2", "--episodes", "20",
            "--set", "data.size=16", "--home", str(home), *more]  # fmt: skip


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]


def test_a_run_warns_once_and_marks_its_row(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(photos, tmp_path / "home", "--shots", "1,2", algo="nearest-mean,chance")) == 0
    out, err = capsys.readouterr()
    (warning,) = [line for line in err.splitlines() if line.startswith("warning:")]
    words = "2 within a class (support and query can be the same item), 1 in another class (one item has two labels)"
    assert warning == (
        f"warning: folder:photos, test: some items are copies, {words}; "
        f"'metabench datasets verify folder:{photos} --set data.size=16' lists them"
    )
    assert out.count("folder:photos †") == 4
    assert out.splitlines()[-1] == (
        f"†: items whose bytes equal another's, the first of each not counted: folder:photos {words}"
    )


def test_the_numbers_stand_in_the_record_and_in_every_form_of_the_table(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, file = tmp_path / "home", tmp_path / "rows.csv"
    (row,) = run_json(capsys, command(photos, home, "--csv", str(file)))
    assert row["copies"] == COUNTS and not row["cached"]
    record = record_of(home, row)
    assert record["provenance"]["copies"] == COUNTS
    assert "copies" not in json.dumps(record["inputs"])
    assert '"2 within a class, 1 in another class"' in file.read_text()
    assert main(command(photos, home, "--markdown")) == 0  # stored: told all the same
    out = capsys.readouterr().out
    assert "| folder:photos † |" in out and "†: items whose bytes" in out
    assert len(run_json(capsys, command(photos, home))) == 1
    frame = metabench.load_results(home=str(home))
    assert frame["copies"].tolist() == ["2 within a class, 1 in another class"]


def test_a_stored_run_warns_too_and_reads_nothing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    assert main(command(photos, home)) == 0
    first = warnings(capsys)
    monkeypatch.setattr("metabench.execution.copy_counter.items_of", lambda *_: pytest.fail("read again"))
    assert main(command(photos, home)) == 0
    assert warnings(capsys) == first != []
    assert main(command(photos, home, "--episodes", "21")) == 0  # another run: the digests of the items are kept
    assert warnings(capsys) == first


def test_without_copies_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, home = make_folder(tmp_path / "photos", CLASSES), tmp_path / "home"
    (row,) = run_json(capsys, command(folder, home))
    assert row["copies"] == {} and "copies" not in record_of(home, row)["provenance"]
    assert main(command(folder, home)) == 0
    out, err = capsys.readouterr()
    assert "†" not in out and "copies" not in err


SHORT = ["--train-episodes", "2", "--set", "train.way=3", "--set", "train.validation_way=3", "--set",
         "train.query=2", "--set", "train.validation_episodes=2"]  # fmt: skip
NARROW = ["--set", "backbone.channels=4"]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three splits: one image of test is in train, another in val."""
    root = tmp_path / "parts"
    for first, split in enumerate(("train", "val", "test")):
        make_folder(root / split, {f"{split}{c}": 8 for c in range(6)}, first=10 * first)
    shutil.copy(root / "test" / "test0" / "000.png", root / "train" / "train1" / "leak.png")
    shutil.copy(root / "test" / "test1" / "000.png", root / "val" / "val1" / "leak.png")
    shutil.copy(root / "train" / "train2" / "000.png", root / "val" / "val2" / "leak.png")
    return root


def test_items_of_training_count_where_something_is_trained(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    rows = run_json(capsys, command(parts, home, algo="nearest-mean"))
    assert [row["copies"] for row in rows] == [{}]
    rows = run_json(capsys, command(parts, home, *SHORT, *NARROW, algo="protonet"))
    assert [row["copies"] for row in rows] == [{"between_splits": 2}]
    assert main(command(parts, home, *SHORT, *NARROW, algo="protonet")) == 0
    (warning,) = warnings(capsys)
    assert "some items are copies, 2 in training too (items are measured that were learned from)" in warning


@pytest.mark.parametrize("algo", ["protonet", "nearest-mean-l2n"])
def test_items_of_training_count_where_its_weights_are_given(
    algo: str, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, copy = tmp_path / "home", tmp_path / "weights.safetensors"
    (trained,) = run_json(capsys, command(parts, home, *SHORT, *NARROW, algo="protonet"))
    key = record_of(home, trained)["training"]["training_key"]
    shutil.copy(home / "models" / key / "weights.safetensors", copy)
    body = ["--checkpoint", str(copy), "--backbone", "conv4", *NARROW]
    (row,) = run_json(capsys, command(parts, home, *body, algo=algo))
    assert row["copies"] == {"between_splits": 2}
    (row,) = run_json(capsys, command(parts / "test", home, *body, algo=algo))  # other data, the same images
    assert row["copies"] == {"between_splits": 2}
    (row,) = run_json(capsys, command(parts, tmp_path / "other", *body, algo=algo))  # where nothing is known of them
    assert row["copies"] == {}


def test_verify_lists_the_files(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["datasets", "verify", f"folder:{photos}", "--home", str(tmp_path / "home")]
    assert main(where) == 1
    out, err = capsys.readouterr()
    assert (
        "folder:photos test: images copied within a class: 2\n  a/007.png = a/000.png\n  a/008.png = a/000.png\n" in out
    )
    assert "folder:photos test: images copied into another class: 1\n  c/000.png = b/c.png\n" in out
    assert err.startswith("error: folder:photos test: images copied within a class: 2.") and err.count("\n") == 1
    assert main([*where, "--json"]) == 1
    checks = {check["status"]: check for check in json.loads(capsys.readouterr().out)}
    files = {
        status: [[item["file"] for item in group] for group in checks[status]["copies"]]
        for status in ("repeated", "conflicting")
    }
    assert files == {
        "repeated": [["a/000.png", "a/007.png", "a/008.png"]],
        "conflicting": [["b/c.png", "c/000.png"]],
    }
    assert main(["doctor", "--home", str(tmp_path / "home")]) in (0, 1)


def test_the_table_names_twenty_and_json_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "photos", CLASSES)
    for number in range(25):
        shutil.copy(folder / "a" / "000.png", folder / "a" / f"copy{number:02}.png")
    where = ["datasets", "verify", f"folder:{folder}", "--home", str(tmp_path / "home")]
    assert main(where) == 1
    out = capsys.readouterr().out
    assert out.count(" = a/000.png") == 20 and "  and 5 more; --json lists all" in out
    assert main([*where, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)[1]["copies"][0]) == 26


def test_a_file_that_is_left_out_moves_no_name(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a" / "001.png").write_bytes(b"junk")
    picture(0, 9).save(photos / "a" / "009.png")
    home = str(tmp_path / "home")
    assert main(["datasets", "verify", f"folder:{photos}", "--skip-bad", "--home", home]) == 1
    assert "\n  a/007.png = a/000.png\n  a/008.png = a/000.png\n" in capsys.readouterr().out


def test_a_suite_marks_its_cells(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'name = "mine"\nversion = 1\nsummary = "a try"\nepisodes = 20\n'
        f'[[runs]]\ndatasets = ["folder:{photos}"]\nways = [3]\nshots = [1]\nquery = 2\n'
        "settings.data = { size = 16 }\n"
        '[[runs]]\ndatasets = ["glyphs"]\nways = [3]\nshots = [1]\n'
        "settings.data = { train_classes = 12, val_classes = 6, test_classes = 8 }\n"
    )
    command = ["run", "--algo", "nearest-mean", "--suite", str(suite), "--home", str(tmp_path / "home")]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert err.count("some items are copies") == 1
    assert out.count("†") == 2 and "†: items whose bytes equal another's" in out
    assert "folder:photos 2 within a class" in out


@pytest.mark.parametrize(
    "value", [3, [], {"other": 1}, {"within_class": 0}, {"within_class": 1.5}, {"within_class": True}]
)
def test_a_record_with_other_numbers_of_copies_is_refused(value: Any) -> None:
    record, counts = make_record(), {"within_class": 4, "between_splits": 1}
    assert changed(record, provenance={"copies": counts}).copies == counts
    assert changed(record, provenance={}).copies == {}
    with pytest.raises(RecordError, match=r"^\$\.provenance\.copies"):
        changed(record, provenance={"copies": value})


def test_words() -> None:
    assert copies_words({}) == ""
    assert copies_words({"between_splits": 1234, "within_class": 1}) == "1 within a class, 1,234 in training too"
    assert most([]) == {} and most([{}, {"within_class": 2}, {"within_class": 1, "between_classes": 3}]) == {
        "within_class": 2,
        "between_classes": 3,
    }


def test_weights_from_elsewhere_say_which_published_data_they_have_seen(tmp_path: Path) -> None:
    session, file = Session(Home(tmp_path / "home"), Console(quiet=True)), tmp_path / "weights.safetensors"
    (run,) = plan(Selection(["protonet"]), session.registry)
    save_tensors(file, {"w": torch.zeros(1)}, made_for(run))
    (given,) = plan(Selection(["protonet"], checkpoint=file), session.registry)
    assert seen_by(given.checkpoint_sha256, given, session) == [(given.dataset, "train"), (given.dataset, "val")]
    (other,) = plan(Selection(["protonet"], checkpoint=file, settings={"data.test_classes": 8}), session.registry)
    assert seen_by(other.checkpoint_sha256, other, session) == []


def test_every_view_of_stored_runs_says_it(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    rows = run_json(capsys, command(photos, home, algo="nearest-mean,chance"))
    keys, place = [row["key"] for row in rows], ["--home", str(home)]
    note = (
        "†: items whose bytes equal another's, the first of each not counted: folder:photos 2 within a class (support "
        "and query can be the same item), 1 in another class (one item has two labels)"
    )
    for line in (["compare", *keys], ["compare", *keys, "--markdown"], ["curve"], ["worst", keys[0]], ["list", "runs"]):
        assert main([*line, *place]) == 0
        out = capsys.readouterr().out
        assert "folder:photos †" in out, line
        assert note in out, line
    assert main(["compare", *keys, *place, "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["copies_a"] == pair["copies_b"] == COUNTS
    assert main(["curve", *place, "--json"]) == 0
    assert [level["copies"] for level in json.loads(capsys.readouterr().out)["levels"]] == [COUNTS, COUNTS]
    assert main(["worst", keys[0], *place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["copies"] == COUNTS
    assert main(["list", "runs", *place, "--json"]) == 0
    assert [run["copies"] for run in json.loads(capsys.readouterr().out)] == [COUNTS, COUNTS]
