"""A folder of one's own images as a dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.data import DataContext, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench_datasets.folder import Folder
from tests.photos import make_folder, picture
from tests.plugins.folder_cases import COUNTS, Notes, load


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
    monkeypatch.setattr("metabench.data.image_decoding.decode_image", None)
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
    monkeypatch.setattr("metabench.data.image_decoding.decode_image", None)  # what was decoded is kept
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


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "7", '{"a": 1}', '{"images": 1, "largest": 65536}', "[" * 10**6, "huge"]
)
def test_damaged_notes_are_made_anew(photos: Path, tmp_path: Path, content: str) -> None:
    (photos / "ant" / "bad.png").write_bytes(b"no image")
    before = load(photos, tmp_path, skip_bad=True)
    notes = list((tmp_path / "cache").rglob("*.json"))
    assert len(notes) == 2
    for path in notes:
        path.write_text(content)
        if content == "huge":
            os.truncate(path, 1 << 40)
    said = Notes()
    after = load(photos, tmp_path, notes=said, skip_bad=True)
    assert split_digest(after) == split_digest(before)
    assert any("left out 1 of 20 images" in line for line in said)


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


def test_too_high_a_min_images_is_what_is_blamed(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", {"a": 6, "b": 6, "c": 12})
    for least, leaves, count in ((10, "1", 2), (20, "none", 3)):
        with pytest.raises(UsageError) as caught:
            load(tmp_path / "photos", tmp_path, min_images=least)
        assert str(caught.value) == (
            f"cannot read folder:photos: {count} classes have fewer than min_images={least} images, which leaves "
            f"{leaves}, and at least two classes are needed. Lower min_images, or add images"
        )
