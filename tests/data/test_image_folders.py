from __future__ import annotations

import os
from pathlib import Path

import pytest

from metabench.data.image_folders import images_below, read_classes, require_images
from metabench.errors import UsageError
from tests.photos import make_folder, picture


def refusal(root: Path) -> str:
    with pytest.raises(UsageError) as caught:
        require_images(read_classes(root, "x"), "x", "--least 1")
    message = str(caught.value)
    assert not {"remove", "delete", "erase"} & set(message.lower().split()), "the files are the user's"
    return message


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        (
            "HEIC",
            "6 .heic; 1 other class has none either. Run 'pip install pillow-heif' to read them",
        ),
        (
            "dcm",
            "6 .dcm; 1 other class has none either. Convert them to PNG, JPEG or TIFF",
        ),
    ],
)
def test_kinds_that_are_not_read(tmp_path: Path, ending: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metabench.data.image_formats.readable", lambda: {".png": "PNG"})
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(6):
            (tmp_path / name / f"{number}.{ending}").write_bytes(b"x")
    leave = ", or leave such classes out with --least 1"
    assert refusal(tmp_path) == f"cannot read x: class 'a' has no images that can be read, but {cause}{leave}"


def test_images_one_level_deeper(tmp_path: Path) -> None:
    for group in ("cats", "dogs"):
        make_folder(tmp_path / group, {"one": 2, "two": 2})
    message = refusal(tmp_path)
    assert "class 'cats' has no images at this level, but 4 in folders inside" in message
    assert "; 1 other class has none either" in message
    assert message.endswith(f"If the inner folders are the classes, give the folder {tmp_path / 'cats'}")


def test_a_folder_too_many_around_the_classes(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos" / "photos", {"one": 2, "two": 2})
    assert refusal(tmp_path).endswith(f"give the folder {tmp_path / 'photos' / 'photos'}")


def test_a_folder_in_every_class_folder(tmp_path: Path) -> None:
    for name in "ab":
        make_folder(tmp_path / name, {"images": 2})
    assert refusal(tmp_path).endswith(f"Move the images from {tmp_path / 'a' / 'images'} up into {tmp_path / 'a'}")


@pytest.mark.parametrize("inside", [True, False])
def test_a_table_that_is_not_read(tmp_path: Path, inside: bool) -> None:
    place = tmp_path / "images" if inside else tmp_path
    place.mkdir(exist_ok=True)
    picture(0, 0).save(place / "0.png")
    (tmp_path / "annotations.csv").write_text("x")
    message = refusal(tmp_path)
    assert "one class, 'images'" in message if inside else "1 image lies in it directly" in message
    assert message.endswith(
        "The images of each class belong into a sub-folder of its name, or name it in a table labels.csv with the "
        "columns filename,label (not annotations.csv)"
    )


def test_pipes_and_links(tmp_path: Path) -> None:
    """Reading a pipe would wait for ever; a link may lead in circles."""
    make_folder(tmp_path / "photos", {"a": 2, "b": 2})
    os.mkfifo(tmp_path / "photos" / "a" / "pipe.png")
    (tmp_path / "photos" / "b" / "round").symlink_to(tmp_path / "photos")
    classes = read_classes(tmp_path / "photos", "x")
    assert len(classes.images) == 4
    assert classes.skipped.files == {"no regular files": ["a/pipe.png"], "linked folders": ["b/round"]}
    images, skipped = images_below([tmp_path / "photos"], "x")
    assert (len(images), skipped.counts) == (4, "1 linked folder, 1 no regular file")
