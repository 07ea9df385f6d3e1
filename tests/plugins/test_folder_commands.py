"""Commands on a folder of one's own images: runs, replays, verification and what they say."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from metabench.cli.main import main
from tests.photos import make_folder, picture
from tests.plugins.folder_cases import COUNTS
from tests.plugins.test_omniglot import real_data
from tests.tiny import record_of, run_json

RUN = ["run", "--algo", "nearest-mean", "--episodes", "40", "--ways", "3", "--quiet", "--set", "data.size=12"]


def test_a_run_on_own_images(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*RUN, "--dataset", f"folder:{photos}", "--home", str(tmp_path / "home"), "--query", "2"]
    (row,) = run_json(capsys, words)
    assert row["dataset"] == "folder:photos"
    assert row["accuracy"] > 80, "colours tell the classes"
    record = record_of(tmp_path / "home", row)
    assert str(tmp_path) not in json.dumps(record), "where it is, is nobody's business"
    assert record["inputs"]["dataset"]["params"]["path"] == "photos"
    assert record["provenance"]["local"] == ["dataset folder:photos"]
    assert main(["leaderboard", "add", row["key"][:12], "--home", str(tmp_path / "home")]) != 0
    capsys.readouterr()
    assert run_json(capsys, words)[0]["cached"]
    picture(5, 5).save(photos / "ant" / "000.png")
    (changed,) = run_json(capsys, words)
    assert (changed["cached"], changed["key"] != row["key"]) == (False, True)


def test_two_folders_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (make_folder(tmp_path / place / "photos", COUNTS, first) for place, first in (("a", 0), ("b", 5)))
    rows = run_json(capsys, [*RUN, "--dataset", f"folder:{one},folder:{two}", "--home", str(tmp_path / "home")])
    assert len({row["key"] for row in rows}) == 2


def test_fewer_queries_where_classes_are_small(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*(word for word in RUN if word != "--quiet"), "--dataset", f"folder:{photos}"]
    words += ["--home", str(tmp_path / "home"), "--shots", "1,4"]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    assert [row["query"] for row in json.loads(said.out)["rows"]] == [5, 2]
    assert "folder:photos: 2 queries of each class at 4-shot instead of 15, since class 'ant' has 6 images" in said.err
    uneven = [*words, "--protocol", "dirichlet", "--quiet"]
    assert [row["query"] for row in run_json(capsys, uneven)] == [2, 1], "twice the mean for one class"
    assert main([*words, "--query", "5"]) == 2, "what the user gave is not changed"
    assert main([*words[:-1], "6"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "class 'ant' has 6 images, and 6 shots need 7" in error
    assert "use --shots 5 or fewer" in error


def test_a_run_can_be_replayed(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    (row,) = run_json(capsys, [*RUN, "--dataset", f"folder:{photos}", *home])
    for command in ("reproduce", "worst"):
        assert main([command, row["key"][:12], "--quiet", *home]) == 0
    assert "bee" in capsys.readouterr().out
    photos.rename(tmp_path / "moved")
    assert main(["reproduce", row["key"][:12], "--quiet", *home]) == 3
    (tmp_path / "data").mkdir()
    (tmp_path / "moved").rename(tmp_path / "data" / "photos")
    assert main(["reproduce", row["key"][:12], "--quiet", *home, "--data", str(tmp_path / "data")]) == 0


def test_without_classes_to_train_on(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*RUN[3:], "--dataset", f"folder:{photos}", "--home", str(tmp_path / "home")]
    (row,) = run_json(capsys, ["run", "--algo", "protonet", "--backbone", "pixels", *words])
    same = run_json(capsys, ["run", "--algo", "nearest-mean", "--backbone", "pixels", *words])
    assert (row["accuracy"], row["seed"]) == (same[0]["accuracy"], None)
    for more, message in (
        (["--algo", "protonet"], "use a pre-trained --backbone"),
        (["--algo", "protonet", "--backbone", "pixels", "--seed", "0,1"], "cannot apply --seed: nothing is trained"),
        (["--algo", "maml"], "has no classes to meta-train maml on; use --checkpoint"),
        (["--algo", "matching-net", "--backbone", "pixels"], "has weights of its own"),
    ):
        assert main(["run", *more, *words]) == 2
        assert message in capsys.readouterr().err


def test_with_classes_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    for first, split in enumerate(("train", "val", "test")):
        make_folder(root / split, {f"{split}{name}": 5 for name in "abc"}, 3 * first)
    sets = {"train.way": 3, "train.episodes": 4, "train.validation_way": 3, "train.query": 2, "backbone.channels": 4}
    sets |= {"data.size": 16, "train.validation_episodes": 4}
    words = ["run", "--algo", "protonet", *RUN[3:8], "--dataset", f"folder:{root}", "--home", str(tmp_path / "home")]
    words += [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    (row,) = run_json(capsys, words)
    assert row["status"] == "ok"
    assert set(record_of(tmp_path / "home", row)["inputs"]["training"]["digests"]) == {"train", "val"}
    (weights,) = (tmp_path / "home" / "models").rglob("weights.safetensors")
    assert str(tmp_path).encode() not in weights.read_bytes(), "weights may be passed on"
    assert b"path=photos" in weights.read_bytes()
    assert main([*words, "--dry-run", "--json"]) == 0
    assert str(tmp_path) not in capsys.readouterr().out


def test_skip_bad(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "ant" / "000.png").write_bytes(b"no")
    words = [*RUN, "--dataset", f"folder:{photos}", "--home", str(tmp_path / "home")]
    assert main(words) == 1
    assert "leave them out with --skip-bad" in capsys.readouterr().err
    assert len(run_json(capsys, [*words, "--skip-bad"])) == 1
    verify = ["datasets", "verify", f"folder:{photos}", "--home", str(tmp_path / "other")]
    assert main(verify) == 1
    assert "leave them out with --skip-bad" in capsys.readouterr().err
    assert main([*verify, "--skip-bad"]) == 0
    assert main(["datasets", "verify", "glyphs", "--skip-bad", "--home", str(tmp_path / "other")]) == 2
    assert "glyphs" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["datasets", "verify"], ["datasets", "download"]])
def test_datasets_commands(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, f"folder:{photos}", "--home", str(tmp_path / "home")]) == 0
    assert "folder:photos" in capsys.readouterr().out
    assert main([*command, "folder", "--home", str(tmp_path / "home")]) == 2
    assert "write folder:PATH" in capsys.readouterr().err


def test_without_a_path_nothing_else_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    for command in (["datasets", "list"], ["doctor"], ["list"], ["show", "folder"]):
        assert main([*command, *(home if command[0] not in ("show", "list") else [])]) == 0, capsys.readouterr().out
        assert "folder" in capsys.readouterr().out


def test_progress_counts_files(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "readme.txt").write_text("x")
    monkeypatch.setattr("metabench.utils.console.PLAIN_SECONDS", 0.0)
    assert main(["datasets", "verify", f"folder:{photos}", "--home", str(tmp_path / "home")]) == 0
    said = capsys.readouterr().err
    assert "preparing folder:photos: 19 of 19 headers" in said
    assert "preparing folder:photos: 19 of 19 test" in said
    assert said.count("folder:photos: skipped 1 file") == 1


def test_verify_lists_what_is_not_read(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [f"ant/x{number:02}.png" for number in range(25)]
    for name in [*bad, "cow/empty.jpg"]:
        (photos / name).write_bytes(b"no")
    (photos / "bee" / "note.txt").write_text("x")
    words = ["datasets", "verify", f"folder:{photos}", "--home", str(tmp_path / "home")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "cannot read folder:photos: 26 of 45 images" in said.err and "cannot read" not in said.out, "said once"
    assert "datasets verify" not in said.err, "this very command"
    assert "folder:photos test: is no image\n  ant/x00.png\n  ant/x01.png\n" in said.out
    assert "  and 6 more; --json lists all" in said.out
    for more, code, status in ([], 1, "broken"), (["--skip-bad"], 0, "unverified"):
        assert main([*words, "--json", *more]) == code
        checks = {check["status"]: check for check in json.loads(capsys.readouterr().out)}
        assert set(checks) == {status, "skipped", "unreadable"}
        assert (checks["unreadable"]["files"], checks["unreadable"]["images"]) == ([*bad, "cow/empty.jpg"], 26)
        assert (checks["skipped"]["files"], checks["skipped"]["detail"]) == (["bee/note.txt"], "of kind .txt")


def test_classes_in_two_splits_are_no_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual layout of classification, which the user is told in plain words."""
    root = tmp_path / "photos"
    for split in ("train", "test"):
        make_folder(root / split, dict.fromkeys("abcd", 3))
    words = [f"folder:{root}", "--home", str(tmp_path / "home")]
    for command in (["datasets", "verify"], ["run", "--algo", "nearest-mean", "--dataset"]):
        assert main([*command, *words]) == 2
        said = capsys.readouterr()
        assert "broken" not in said.out + said.err
        assert "4 classes are in train/ and in test/: 'a', 'b', 'c' and 1 more. Few-shot methods train on" in said.err
        assert f"measure on folder:{root / 'test'} alone" in said.err


def test_a_class_in_train_and_val_is_refused_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    for split, names in (("train", "abc"), ("val", "cde"), ("test", "fghij")):
        make_folder(root / split, dict.fromkeys(names, 3))
    for command in (["datasets", "verify"], ["run", "--algo", "nearest-mean", "--dataset"]):
        assert main([*command, f"folder:{root}", "--home", str(tmp_path / "home")]) == 2
        err = capsys.readouterr().err
        assert "error: cannot use folder:photos as it is: 1 class is in train/ and in val/: 'c'. " in err
        assert err.endswith("move each class into one split\n")


def test_a_stored_run_says_again_what_is_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "ant" / "bad.png").write_bytes(b"x")
    (photos / "ant" / "note.txt").write_text("x")
    words = ["run", "--algo", "nearest-mean", "--dataset", f"folder:{photos}", "--ways", "2", "--query", "1"]
    words += ["--episodes", "5", "--skip-bad", "--home", str(tmp_path / "home")]
    said = []
    for _ in range(2):
        assert main(words) == 0
        said.append(capsys.readouterr().err.splitlines())
    assert said[0] == said[1]
    assert "folder:photos: skipped 1 file: 1 .txt" in said[0]
    assert any("left out 1 of" in line and "ant/bad.png (is no image)" in line for line in said[0])


@pytest.mark.realdata
def test_characters_of_omniglot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One-bit drawings of 105x105 as a user would have them; alphabets differ more than characters do."""
    root = tmp_path / "alphabets"
    with zipfile.ZipFile(real_data() / "images_background.zip") as archive:
        for name in archive.namelist():
            alphabet, _, rest = name.removeprefix("images_background/").partition("/")
            if alphabet in ("Korean", "Braille", "Tifinagh") and rest.startswith("character0") and name.endswith("png"):
                (root / alphabet).mkdir(parents=True, exist_ok=True)
                (root / alphabet / Path(rest).name).write_bytes(archive.read(name))
    words = ["run", "--algo", "nearest-mean", "--ways", "3", "--shots", "1,10", "--episodes", "200", "--quiet"]
    sets = ["--set", "data.size=28", "--set", "data.colour=grey"]
    words += [*sets, "--dataset", f"folder:{root}", "--home", str(tmp_path / "home")]
    one, ten = (row["accuracy"] for row in run_json(capsys, words))
    assert 35 < one < ten, "guessing gives a third"


def test_too_few_training_classes_are_not_blamed_on_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    for first, split in enumerate(("train", "val", "test")):
        make_folder(root / split, {f"{split}{name}": 20 for name in "abcd"}, 4 * first)
    words = ["run", "--algo", "protonet", "--dataset", f"folder:{root}", "--ways", "3", "--quiet"]
    words += ["--home", str(tmp_path / "home")]
    validation = ("--set", "train.validation_way=4")
    for more, advice in (((), "train.validation_way=4"), (validation, "train.way=4")):
        assert main([*words, *more]) == 2
        line = capsys.readouterr().err
        assert f"use --set {advice}\n" in line and "--ways" not in line


def test_one_class_is_no_reason_for_fewer_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    for split, names in (("train", "ab"), ("val", "cd"), ("test", "e")):
        make_folder(root / split, dict.fromkeys(names, 3))
    words = [
        "run",
        "--algo",
        "nearest-mean",
        "--dataset",
        f"folder:{root}",
        "--quiet",
        "--home",
        str(tmp_path / "home"),
    ]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "--ways 1" not in line and "--ways 0" not in line
