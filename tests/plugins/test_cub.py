import io
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from metabench.data import DataContext, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench_datasets import cub
from metabench_datasets._class_lists import class_lists
from metabench_datasets._cub import Layout, official_layout
from metabench_datasets.cub import SPEC, Cub

LISTS = {"train": ("001.A", "003.C"), "val": ("002.B",), "test": ("004.D",)}
COUNTS = {"001.A": 3, "002.B": 2, "003.C": 1, "004.D": 2}
LAYOUT = Layout(LISTS, 8)


def photo(seed, mode="RGB"):
    """A photograph of some size, dark but for a bright bird in its box."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(100, 160, 2)
    pixels = rng.integers(0, 60, (height // 4, width // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    pixels[20:80, 10:60] = 200 + seed
    image, stream = Image.fromarray(pixels).convert(mode), io.BytesIO()
    image.save(stream, "JPEG", quality=95)
    return stream.getvalue()


def members():
    found, paths, boxes = {}, [], []
    for label, count in COUNTS.items():
        for index in range(count):
            paths.append(f"{label}/bird_{index:04}.jpg")
            found[f"images/{paths[-1]}"] = photo(len(paths), "L" if len(paths) == 3 else "RGB")
            boxes.append("10.0 20.0 50.0 60.0")
    for name, lines in (("images.txt", paths), ("bounding_boxes.txt", boxes)):
        found[name] = "".join(f"{number} {line}\n" for number, line in enumerate(lines, 1)).encode()
    return {f"CUB_200_2011/{name}": data for name, data in found.items()}


def write_tgz(folder, content):
    with tarfile.open(folder / "CUB_200_2011.tgz", "w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_folder(folder, content):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "data").mkdir()
    return DataContext(tmp_path / "cache", (tmp_path / "data",))


def test_the_published_split():
    lists = official_layout().lists
    assert lists == class_lists("cub")
    numbers = {split: [int(label[:3]) - 1 for label in labels] for split, labels in lists.items()}
    assert numbers["train"] == list(range(0, 200, 2))
    assert numbers["val"] == list(range(1, 200, 4)) and numbers["test"] == list(range(3, 200, 4))
    assert sum(size.images for size in SPEC.sizes.values()) == official_layout().images == 11_788


@pytest.mark.parametrize("write", [write_tgz, write_folder])
def test_both_layouts_give_the_whole_photograph_resized(context, write):
    content = members()
    write(context.sources[0], content)
    split = Cub(layout=LAYOUT).load("train", context)
    assert split.names == LISTS["train"] and split.starts.tolist() == [0, 3, 4]
    for row, name in enumerate(["001.A/bird_0000", "001.A/bird_0001", "001.A/bird_0002", "003.C/bird_0000"]):
        image = Image.open(io.BytesIO(content[f"CUB_200_2011/images/{name}.jpg"])).convert("RGB")
        expected = np.asarray(image.resize((84, 84), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(split.images[row], expected)
    assert list((context.cache / "v1-whole").glob("*.npy")), "kept"
    assert not [path for path in context.cache.rglob("*") if "tmp" in path.name]


def test_frames(context):
    write_folder(context.sources[0], members())
    whole, box, centre = (Cub(frame, LAYOUT).load("test", context).images[0] for frame in ("whole", "box", "centre"))
    assert box.min() > 150  # the bird alone
    assert 0.1 < (whole > 150).mean() < (centre > 150).mean() < 0.9  # the middle of a larger picture
    with pytest.raises(UsageError, match="frame is one of whole, box, centre"):
        Cub("square")


def test_opened_again_without_the_archive(context, monkeypatch):
    write_tgz(context.sources[0], members())
    data = Cub(layout=LAYOUT)
    digests = {split: split_digest(data.load(split, context)) for split in LISTS}
    monkeypatch.setattr(cub, "open_archive", None)
    started = time.perf_counter()
    assert {split: split_digest(data.load(split, context)) for split in LISTS} == digests
    (context.sources[0] / "CUB_200_2011.tgz").unlink()
    assert {split: split_digest(data.load(split, context)) for split in LISTS} == digests
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("content", ["", "[]", "{}", '["x", 1, 2]', "[0, 1e400]", "[" * 10**6, " " * 2**25])
def test_damaged_notes_are_made_anew(context, content):
    write_tgz(context.sources[0], members())
    data = Cub(layout=LAYOUT)
    digests = {split: split_digest(data.load(split, context)) for split in LISTS}
    for notes in context.cache.rglob("*.json"):
        notes.write_text(content)
    assert {split: split_digest(data.load(split, context)) for split in LISTS} == digests


def error_of(context, kind=MetabenchError):
    with pytest.raises(kind) as caught:
        Cub(layout=LAYOUT).load("test", context)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_nothing_there_says_where_to_get_it(context):
    message = error_of(context, MissingError)
    assert message.startswith("cub: CUB_200_2011.tgz (1.15 GB) not found; get it from https://data.caltech.edu")
    with pytest.raises(UsageError, match="use train, val or test"):
        Cub(layout=LAYOUT).load("all", context)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("images.txt", b"1 001.A/a.jpg\n", "lists 1 images of 1 classes, not 8 of 4: 002.B, 003.C, 004.D differ"),
        ("images.txt", b"1 a b c\n", "has a line without 2 fields"),
        ("images.txt", b"\xff\xff", "is no text"),
        ("images.txt", None, "has no 'CUB_200_2011/images.txt'"),
        ("bounding_boxes.txt", b"1 2 3 4 5\n", "has no box for 7 images: CUB_200_2011/images/001.A/bird_0001.jpg"),
        ("bounding_boxes.txt", b"1 2 3 4 five\n", "has no numbers for image 1"),
        (
            "images/004.D/bird_0001.jpg",
            b"junk",
            "1 of 2 cannot be used: CUB_200_2011/images/004.D/bird_0001.jpg (is no",
        ),
    ],
)
def test_a_damaged_archive_is_one_line(context, name, data, told):
    content = members()
    if data is None:
        del content[f"CUB_200_2011/{name}"]
    else:
        content[f"CUB_200_2011/{name}"] = data
    write_tgz(context.sources[0], content)
    message = error_of(context)
    assert told in message and "get the official" in message


@pytest.mark.parametrize("write", [write_tgz, write_folder])
def test_missing_photographs_are_counted_and_three_are_named(context, write):
    content = members()
    for label, index in (("001.A", 0), ("001.A", 1), ("002.B", 0), ("004.D", 1)):
        del content[f"CUB_200_2011/images/{label}/bird_{index:04}.jpg"]
    write(context.sources[0], content)
    message = error_of(context)
    assert "lacks 4 of the 8 images in images.txt: CUB_200_2011/images/001.A/bird_0000.jpg" in message
    assert message.count(".jpg") == 3 and "and 1 more; get the official archive again" in message
