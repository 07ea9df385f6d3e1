from __future__ import annotations

from pathlib import Path

import pytest

from metabench.data import DataContext, split_digest
from metabench.data.split_folders import read_splits
from metabench.errors import UsageError
from metabench_datasets.folder import Folder
from tests.photos import make_folder, picture

CLASSES = {"train": "abc", "val": "de", "test": "fg"}


def make_splits(root: Path, *names: str) -> Path:
    """Write the three splits under other names."""
    for first, (classes, name) in enumerate(zip(CLASSES.values(), names, strict=True)):
        make_folder(root / name, dict.fromkeys(classes, 3), first)
    return root


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "VAL", "tEst"),
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Train", "Valid", "Test"),
    ],
)
def test_usual_names_of_splits(tmp_path: Path, names: tuple[str, str, str]) -> None:
    """Under whatever name, they are the same splits with the same digests."""
    usual, other = make_splits(tmp_path / "usual", *CLASSES), make_splits(tmp_path / "other", *names)
    notes: list[str] = []
    context = DataContext(tmp_path / "cache", note=notes.append)
    assert Folder(str(other)).splits(context) == ("train", "val", "test")
    for split, classes in CLASSES.items():
        mine = Folder(str(other), size=16).load(split, context)
        assert mine.names == tuple(classes)
        assert split_digest(mine) == split_digest(Folder(str(usual), size=16).load(split, context))
    assert notes == []


@pytest.mark.parametrize(("one", "two"), [("val", "valid"), ("Val", "val"), ("validation", "valid")])
def test_two_folders_for_one_split(tmp_path: Path, one: str, two: str) -> None:
    root = make_splits(tmp_path / "photos", "train", one, "test")
    make_folder(root / two, {"h": 2})
    with pytest.raises(
        UsageError, match=f"({one}/ and {two}/|{two}/ and {one}/) both stand for the val split"
    ) as caught:
        Folder(str(root)).splits(DataContext(tmp_path))
    assert caught.value.exit_code == 2


def test_nothing_beside_the_splits_vanishes(tmp_path: Path) -> None:
    root = make_splits(tmp_path / "photos", *CLASSES)
    make_folder(root / "more", {"x": 2})
    (root / "labels.csv").write_text("x")
    (root / "train" / "read.me").write_text("x")
    (root / ".git").mkdir()
    notes: list[str] = []
    Folder(str(root), size=16).load("val", DataContext(tmp_path / "cache", note=notes.append))
    assert notes == [
        "folder:photos: skipped 4 files: 1 beside test/ and train/ and val/ (such as labels.csv), "
        "1 beside the class folders (such as train/read.me), "
        "2 in folders beside test/ and train/ and val/ (such as more/x/000.png)"
    ]


def test_splits_without_class_folders(tmp_path: Path) -> None:
    for split in ("Train", "test"):
        (tmp_path / "photos" / split).mkdir(parents=True)
        picture(0, 0).save(tmp_path / "photos" / split / "0.png")
    with pytest.raises(UsageError, match="Train/ and test/ hold images but no class folders"):
        Folder(str(tmp_path / "photos")).splits(DataContext(tmp_path))


def test_a_folder_that_may_be_a_split_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", {"a": 1})
    make_folder(tmp_path / "eval", {"b": 2})
    with pytest.raises(UsageError, match=r"no test/, .* Add test/, or rename eval/ to it$"):
        read_splits(tmp_path, "x")
    make_folder(tmp_path / "test", {"c": 1})
    reason = "in eval/ beside test/ and train/, to be renamed val/ if it is that split"
    assert read_splits(tmp_path, "x").skipped.counts == f"2 {reason}"
    make_folder(tmp_path / "val", {"d": 1})
    assert read_splits(tmp_path, "x").skipped.counts == "2 in folders beside test/ and train/ and val/"
