from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.main import main
from metabench.data import ClassSplit, DataContext, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench_datasets.folder import Folder
from tests.photos import make_folder, picture
from tests.plugins.test_omniglot import real_data
from tests.tiny import record_of, run_json

COUNTS = {"ant": 6, "bee": 7, "cow": 6}


class Notes(list[str]):
    """A context that keeps what is said."""

    def context(self, cache: Path) -> DataContext:
        return DataContext(cache, note=self.append)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", COUNTS)


def load(path: Path, tmp_path: Path, split: str = "test", notes: Notes | None = None, **params: Any) -> ClassSplit:
    notes = Notes() if notes is None else notes
    return Folder(str(path), **params).load(split, notes.context(tmp_path / "cache"))


def test_classes_in_order_and_every_format(photos: Path, tmp_path: Path) -> None:
    split = load(photos, tmp_path, size=16)
    assert split.names == tuple(COUNTS)
    assert split.counts.tolist() == list(COUNTS.values())
    assert split.images.shape == (19, 16, 16, 3)
    means = [split.images[a:b].mean((0, 1, 2)) for a, b in zip(split.starts, split.starts[1:], strict=False)]
    for label, mean in enumerate(means):
        assert np.abs(mean - np.asarray(picture(label, 0)).mean((0, 1))).max() < 20


def test_a_second_load_decodes_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(photos, tmp_path)
    monkeypatch.setattr("metabench.data.image_decoding.decode", None)
    again = load(photos, tmp_path)
    assert isinstance(again.images, np.memmap)
    assert split_digest(again) == split_digest(first)


def test_a_changed_file_is_noticed(photos: Path, tmp_path: Path) -> None:
    before, other = load(photos, tmp_path), Folder(str(photos))
    context = Notes().context(tmp_path / "cache")
    mark = other.fingerprint(context)
    picture(9, 9).save(photos / "ant" / "000.png")
    assert other.fingerprint(context) != mark
    after = load(photos, tmp_path)
    assert split_digest(after) != split_digest(before)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1, "what was before is not kept"
    (photos / "ant" / "001.jpg").unlink()
    assert load(photos, tmp_path).counts.tolist() == [5, 7, 6]


def test_touching_a_file_does_not_change_the_data(photos: Path, tmp_path: Path) -> None:
    before = split_digest(load(photos, tmp_path))
    os.utime(photos / "ant" / "000.png", (1, 1))
    assert split_digest(load(photos, tmp_path)) == before


def test_what_is_no_image_is_ignored_with_a_note(photos: Path, tmp_path: Path) -> None:
    (photos / "readme.txt").write_text("x")
    (photos / ".DS_Store").write_text("x")
    (photos / ".cache").mkdir()
    (photos / "ant" / "notes.txt").write_text("x")
    (photos / "ant" / "new.HEIC").write_text("x")
    (photos / "ant" / "more").mkdir()
    picture(0, 0).save(photos / "ant" / "more" / "deep.png")
    (photos / "ant" / "more" / ".hidden").write_text("x")
    notes = Notes()
    assert load(photos, tmp_path, notes=notes).counts.tolist() == [6, 7, 6]
    assert notes == [
        "folder:photos: skipped 4 files: 1 .heic ('pip install pillow-heif' reads them), 1 .txt, "
        "1 beside the class folders (such as readme.txt), "
        "1 in folders inside class folders (such as ant/more/deep.png)"
    ]


def test_bad_files_are_reported_and_left_out_when_asked(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ant/000.png", "ant/aaa.jpg", "cow/zzz.png", "cow/yyy.bmp"):
        (photos / name).write_bytes(b"no")
    with pytest.raises(MetabenchError) as caught:
        load(photos, tmp_path, size=16)
    assert str(caught.value) == (
        "cannot read folder:photos: 4 of 22 images cannot be read: ant/000.png (is no image), "
        "ant/aaa.jpg (is no image), cow/yyy.bmp (is no image) and 1 more; "
        f"'metabench datasets verify folder:{photos}' lists all. "
        "Replace or repair them, or leave them out with --skip-bad"
    )
    monkeypatch.setattr("metabench.data.image_decoding.decode", None)  # what was decoded is kept
    notes = Notes()
    split = load(photos, tmp_path, notes=notes, size=16, skip_bad=True)
    assert split.counts.tolist() == [5, 7, 6]
    assert notes[0].startswith("folder:photos: left out 4 of 22 images that cannot be read: ant/000.png")
    monkeypatch.undo()
    for name in ("ant/000.png", "ant/aaa.jpg", "cow/zzz.png", "cow/yyy.bmp"):
        (photos / name).unlink()
    assert split_digest(load(photos, tmp_path, size=16)) == split_digest(split), "as if they had never been there"


def test_a_class_of_bad_files_only(photos: Path, tmp_path: Path) -> None:
    (photos / "dog").mkdir()
    (photos / "dog" / "a.png").write_bytes(b"no")
    with pytest.raises(MetabenchError, match="no image of class 'dog' can be read"):
        load(photos, tmp_path, skip_bad=True)


def test_forms(photos: Path, tmp_path: Path) -> None:
    digests = {
        split_digest(load(photos, tmp_path, size=16, fit=fit, colour=colour))
        for fit in ("crop", "pad", "stretch")
        for colour in ("rgb", "grey")
    }
    assert len(digests) == 6
    assert Folder(str(photos), colour="grey", size=20).image_shape == (1, 20, 20)


def test_small_classes_can_be_left_out(photos: Path, tmp_path: Path) -> None:
    make_folder(photos, {"dog": 7, "eel": 2})
    (photos / "empty").mkdir()
    notes = Notes()
    assert load(photos, tmp_path, notes=notes, min_images=7).names == ("bee", "dog")
    assert "4 classes of fewer than 7 images" in notes[0]


def test_splits_by_sub_folders(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for split, names in (("train", "abc"), ("val", "de"), ("test", "fg")):
        make_folder(root / split, dict.fromkeys(names, 3))
    context = Notes().context(tmp_path / "cache")
    assert Folder(str(root)).splits(context) == ("train", "val", "test")
    assert load(root, tmp_path, "train").names == ("a", "b", "c")
    assert load(root, tmp_path, "test").names == ("f", "g")
    make_folder(root / "val", {"f": 2})
    with pytest.raises(UsageError, match=r"1 class is in val/ and in test/: 'f'\. .* different classes"):
        load(root, tmp_path, "test")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    """Railways: these sub-folders hold images, so they are classes."""
    root = make_folder(tmp_path / "vehicles", {"bus": 3, "train": 3})
    assert Folder(str(root)).splits(Notes().context(tmp_path)) == ("test",)
    assert load(root, tmp_path).names == ("bus", "train")


def test_a_record_finds_its_folder_in_a_source(photos: Path, tmp_path: Path) -> None:
    context = DataContext(tmp_path / "cache", sources=(tmp_path,))
    assert Folder("elsewhere/photos").load("test", context).names == tuple(COUNTS)


def wrong(tmp_path: Path, kind: str) -> Path:
    root = tmp_path / kind
    if kind == "file":
        root.write_text("x")
    elif kind == "flat":
        root.mkdir()
        picture(0, 0).save(root / "a.png")
    elif kind == "one":
        make_folder(root, {"a": 3})
    elif kind == "empty":
        make_folder(root, {"a": 3, "b": 0})
    elif kind == "untested":
        make_folder(root / "train", {"a": 3, "b": 3})
    return root


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("absent", MissingError, "folder .* not found"),
        ("file", UsageError, r"is a file\. The images of each class belong into a sub-folder of its name"),
        ("flat", UsageError, r"has no sub-folders \(1 image lies in it directly\)"),
        ("one", UsageError, "has only one class, 'a', and at least two are needed"),
        ("empty", UsageError, r"class 'b' has no images\. Put some into .*data.min_images=1"),
        ("untested", UsageError, "it has train/ but no test/"),
    ],
)
def test_folders_that_are_none(tmp_path: Path, kind: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        load(wrong(tmp_path, kind), tmp_path)
    assert str(caught.value).startswith(f"cannot read folder:{kind}: ")


def test_an_unreadable_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MissingError, match=r"cannot read folder:photos: .*photos: Permission denied"):
        load(photos, tmp_path)


def test_there_must_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="--dataset folder:PATH"):
        Folder()
    with pytest.raises(UsageError, match="min_images"):
        Folder("x", min_images=-1)
    with pytest.raises(UsageError, match="no train/ sub-folder"):
        load(make_folder(tmp_path / "photos", COUNTS), tmp_path, "train")


def test_names_that_are_no_text(photos: Path, tmp_path: Path) -> None:
    os.rename(os.fsencode(photos / "ant"), os.fsencode(photos) + b"/\xff\xfe")  # noqa: PTH104 - bytes
    os.rename(os.fsencode(photos / "bee" / "000.png"), os.fsencode(photos / "bee") + b"/\xff.png")  # noqa: PTH104
    (photos / "cow" / "000.png").write_bytes(b"no")
    split = load(photos, tmp_path, skip_bad=True)
    assert split.counts.tolist() == [7, 5, 6]
    "".join(split.names).encode()  # they can be printed


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


def test_too_high_a_min_images_is_what_is_blamed(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", {"a": 6, "b": 6, "c": 12})
    for least, leaves, count in ((10, "1", 2), (20, "none", 3)):
        with pytest.raises(UsageError) as caught:
            load(tmp_path / "photos", tmp_path, min_images=least)
        assert str(caught.value) == (
            f"cannot read folder:photos: {count} classes have fewer than min_images={least} images, which leaves "
            f"{leaves}, and at least two classes are needed. Lower min_images, or add images"
        )


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
