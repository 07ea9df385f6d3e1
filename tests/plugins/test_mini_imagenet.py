import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.cli.main import main
from metabench.data import DataContext, split_digest
from metabench.data.duplicates import by_splits, duplicates
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.execution.run_data import unofficial_pixels
from metabench.execution.session import Session
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.registry.specs import UNKNOWN_COPY, SplitSize
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench_datasets import mini_imagenet
from metabench_datasets._class_lists import class_lists
from metabench_datasets.mini_imagenet import SPEC, MiniImagenet

LISTS = {"train": ("n01", "n02"), "val": ("n03",), "test": ("n04", "n05")}
PER_CLASS = 3


def jpeg(seed, size=84, mode="RGB"):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size // 12, size // 12, 3), np.uint8)
    Image.fromarray(pixels).resize((size, size)).convert(mode).save(stream, "JPEG")
    return stream.getvalue()


def pixels(seed):
    return np.asarray(Image.open(io.BytesIO(jpeg(seed))))


IMAGES = {
    f"{label}{index:02}.jpg": jpeg(10 * number + index)
    for number, label in enumerate(label for labels in LISTS.values() for label in labels)
    for index in range(PER_CLASS)
}


def write_csv(folder, **changed):
    """The official layout, the lines of each list in any order."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, data in IMAGES.items():
        (folder / "images" / name).write_bytes(data)
    for split in LISTS:
        labels = changed.get(split, LISTS[split])
        lines = [f"{name},{name[:3]}" for name in reversed(IMAGES) if name[:3] in labels]
        (folder / f"{split}.csv").write_text("\n".join(["filename,label", *lines]) + "\n")
    return folder


def write_folders(folder, below=True):
    for split, labels in LISTS.items():
        for label in labels:
            place = folder / split / label if below else folder / label
            place.mkdir(parents=True)
            for name, data in IMAGES.items():
                if name.startswith(label):
                    (place / name).write_bytes(data)
    (folder / "README.txt").write_text("beside the classes")
    return folder


@pytest.fixture
def mini():
    return MiniImagenet(LISTS, PER_CLASS)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "data").mkdir()
    return DataContext(tmp_path / "cache", (tmp_path / "data",))


def test_the_published_lists():
    lists = class_lists("mini_imagenet")
    assert {split: len(labels) for split, labels in lists.items()} == {"train": 64, "val": 16, "test": 20}
    assert len(set(sum(lists.values(), ()))) == 100
    assert lists["train"][0] == "n01532829" and lists["test"][-1] == "n07613480"
    assert {split: (size.classes, size.images) for split, size in SPEC.sizes.items()} == {
        split: (len(labels), 600 * len(labels)) for split, labels in lists.items()
    }


@pytest.mark.parametrize("layout", ["csv", "folders", "flat"])
def test_every_layout_gives_the_same_images_in_the_order_of_names(mini, context, layout):
    folder = context.sources[0] / "mini-imagenet"
    write_csv(folder) if layout == "csv" else write_folders(folder, below=layout == "folders")
    split = mini.load("train", context)
    assert split.names == ("n01", "n02") and split.starts.tolist() == [0, 3, 6]
    np.testing.assert_array_equal(split.images, [pixels(seed) for seed in (0, 1, 2, 10, 11, 12)])
    np.testing.assert_array_equal(mini.load("val", context).images[2], pixels(22))
    assert isinstance(split.images, np.memmap) and not split.images.flags.writeable


def test_prepared_once_and_used_when_the_copy_is_gone(mini, context, monkeypatch):
    write_csv(context.sources[0] / "miniimagenet")
    first = {split: split_digest(mini.load(split, context)) for split in LISTS}
    monkeypatch.setattr(mini_imagenet, "cached_images", None)
    assert {split: split_digest(mini.load(split, context)) for split in LISTS} == first
    gone = DataContext(context.cache)
    assert {split: split_digest(mini.load(split, gone)) for split in LISTS} == first
    assert mini.fingerprint(gone) == mini.fingerprint(context)


def test_another_copy_is_another_preparation(mini, context, tmp_path):
    folder = write_csv(context.sources[0])
    before, mark = mini.load("test", context).images, mini.fingerprint(context)
    (folder / "images" / "n0400.jpg").unlink()
    (folder / "images" / "n0400.jpg").write_bytes(jpeg(777))
    os.utime(folder / "images", ns=(1, 1))  # the clock of the file system may be too coarse for this test
    after = mini.load("test", context).images
    assert mini.fingerprint(context) != mark
    np.testing.assert_array_equal(after[0], pixels(777))
    np.testing.assert_array_equal(after[1:], before[1:])


def error_of(mini, context, split="test", kind=MetabenchError):
    with pytest.raises(kind) as caught:
        mini.load(split, context)
    message = str(caught.value)
    assert message.startswith("mini-imagenet") and "\n" not in message
    return message


def test_no_copy_says_how_to_get_one(mini, context):
    message = error_of(mini, context, kind=MissingError)
    for words in (
        str(context.sources[0]),
        "image-net.org",
        "train.csv",
        "mini-imagenet/images/*.jpg",
        "METABENCH_DATA",
    ):
        assert words in message
    with pytest.raises(UsageError, match="use train, val or test"):
        mini.load("all", context)


def test_lists_of_another_split_are_told(mini, context):
    write_csv(context.sources[0], test=("n04", "n02"))
    message = error_of(mini, context)
    assert "test.csv: its 2 classes are not the 2 of the test split of Ravi & Larochelle" in message
    assert "1 do not belong there: n02 (of train); 1 are missing: n05; get the official" in message
    assert len(mini.load("val", context).images) == 3  # whose list is right


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "test.csv is not there; get the official"),
        (b"\xff\xfe\x00", "not a readable CSV"),
        (b"name;class\na.jpg;n04\n", "does not begin with the line filename,label"),
        (b"filename,label\n../../n0400.jpg,n04\n", "line 2 is not a plain file name and a label"),
        (b"filename,label\nn0400.jpg\n", "line 2 is not a plain file name"),
        (b"", "does not begin with the line filename,label"),
        (b"\xef\xbb\xbffilename,label\nn0400.jpg\n", "line 2 is not a plain file name"),
        (
            b"filename,label\nn0153282900000005.jpg,n01532829\nn0153282900000006.jpg,n01558993\n",
            "line 3 gives n0153282900000006.jpg the label n01558993, and its name another",
        ),
        (b"filename,label\nn0400.jpg,n04\nn0401.jpg,n04\nn0500.jpg,n05\n", "2 classes have not 3 images: n04 has 2"),
    ],
)
def test_a_bad_list_is_one_line(mini, context, content, told):
    folder = write_csv(context.sources[0])
    if content is None:
        (folder / "test.csv").unlink()
    else:
        (folder / "test.csv").write_bytes(content)
    assert told in error_of(mini, context)


def test_missing_images_are_counted_and_three_are_named(mini, context):
    folder = write_csv(context.sources[0])
    for name in ("n0400.jpg", "n0401.jpg", "n0500.jpg", "n0501.jpg"):
        (folder / "images" / name).unlink()
    message = error_of(mini, context, kind=MissingError)
    assert "4 of the 6 images in test.csv are missing" in message
    assert message.count(".jpg") == 3 and "and 1 more; get the whole set again" in message


def test_folders_without_a_class_or_an_image(mini, context):
    folder = write_folders(context.sources[0])
    (folder / "test" / "n04" / "n0400.jpg").unlink()
    assert "1 class has not 3 images: n04 has 2" in error_of(mini, context)
    for file in (folder / "test" / "n04").iterdir():
        file.unlink()
    (folder / "test" / "n04").rmdir()
    assert "1 of the 2 classes of test have no folder: n04" in error_of(mini, context, kind=MissingError)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (jpeg(1, size=96), "is 96x96 instead of 84x84"),
        (jpeg(1)[:-300], "is damaged"),
        (b"", "is no JPEG or PNG"),
    ],
)
def test_unusable_images_are_named_with_the_reason_and_the_rest_is_kept(mini, context, data, told):
    folder = write_csv(context.sources[0])
    (folder / "images" / "n0501.jpg").write_bytes(data)
    message = error_of(mini, context)
    assert f"1 of 6 cannot be used: {folder / 'images' / 'n0501.jpg'} ({told}); mini-ImageNet's are 84x84" in message
    (folder / "images" / "n0501.jpg").write_bytes(IMAGES["n0501.jpg"])
    assert mini.load("test", context).images.shape == (6, 84, 84, 3)


def test_digests_follow_the_copy_and_the_pixels_are_named(tmp_path, monkeypatch):
    """A session notes digests for the copy that it read, not for the name of the dataset."""
    monkeypatch.setattr(mini_imagenet, "class_lists", lambda name: LISTS)
    monkeypatch.setattr(MiniImagenet.__init__, "__defaults__", (None, PER_CLASS))
    for split, classes in LISTS.items():
        monkeypatch.setitem(SPEC.sizes, split, SplitSize(len(classes), len(classes) * PER_CLASS))
    found = {}
    for name in ("a", "b"):
        folder = write_csv(tmp_path / name)
        (folder / "images" / "n0400.jpg").write_bytes(jpeg(ord(name)))
        session = Session(Home(tmp_path / "home", (folder,)), Console(quiet=True), "cpu")
        selection = Selection(algorithms=("chance",), datasets=("mini-imagenet",), ways=(2,))
        (run,) = plan(selection, session.registry)
        found[name] = session.loader.digests(run.dataset)
        assert found[name] == {split: split_digest(session.loader.split(run.dataset, split)) for split in LISTS}
        assert unofficial_pixels(run, session.loader) == {"mini-imagenet": UNKNOWN_COPY}
    assert found["a"]["train"] == found["b"]["train"] and found["a"]["test"] != found["b"]["test"]
    (known,) = SPEC.copies.values()
    assert SPEC.pixels({}, known.digests) == "re-encoded as JPEG of quality 75"


def real_mini_imagenet():
    """The folder that holds the real thing; the test is skipped where it is missing."""
    given = os.environ.get("METABENCH_DATA") or str(Path(__file__).parents[3] / "shared/data")
    for folder in map(Path, given.split(os.pathsep)):
        if any((folder / below / "train.csv").is_file() for below in mini_imagenet.SUBFOLDERS):
            return folder
    pytest.skip("no mini-ImageNet in METABENCH_DATA or ../shared/data")


@pytest.mark.realdata
def test_the_real_thing(tmp_path, capsys):
    """Prepared, opened again quickly enough to be no preparation, the known copy and its eight pairs recognised."""
    folder, home, mini = real_mini_imagenet(), tmp_path / "home", MiniImagenet()
    real = DataContext(home / "data" / "mini-imagenet", (folder,))
    splits = {split: mini.load(split, real) for split in ("train", "val", "test")}
    started = time.perf_counter()
    mini.load("train", real)
    assert time.perf_counter() - started < 5
    digests = {split: split_digest(data) for split, data in splits.items()}
    (name,) = [name for name, copy in SPEC.copies.items() if copy.digests == digests]
    groups = by_splits(duplicates(splits))
    assert {places: len(found) for places, found in groups.items()} == {("train",): 2, ("train", "val"): 6}
    assert main(["datasets", "verify", "mini-imagenet", "--home", str(home), "--data", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.count("known copy") == 3 and name in out
    assert "images copied into another split: 6, all of them declared" in out
