"""tieredImageNet on small files in the layout of its distribution: nobody may pass the real ones on."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.data import DataContext, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.registry.specs import SplitSize
from metabench_datasets.tiered_imagenet import SPEC, SUBFOLDERS, TieredImagenet

SIZES = {"train": SplitSize(4, 14), "val": SplitSize(2, 5), "test": SplitSize(3, 9)}
SPECIFIC = {"train": ["husky", "crane", "tabby", "crane"], "val": ["oak", "elm"], "test": ["jeep", "bus", "van"]}
GENERAL = {"train": ["animal", "machine"], "val": ["tree"], "test": ["vehicle"]}
ABOVE = {"train": [0, 0, 0, 1], "val": [0, 0], "test": [0, 0, 0]}


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


class Fixture:
    """Random photographs; class of image i is i modulo the number of classes, so classes are not in order."""

    def __init__(self, folder):
        self.folder = folder / "tiered-imagenet"
        self.folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        self.images = {s: rng.integers(0, 256, (size.images, 84, 84, 3), np.uint8) for s, size in SIZES.items()}
        self.labels = {s: np.arange(size.images) % size.classes for s, size in SIZES.items()}
        for split in SIZES:
            self.write_labels(split)

    def path(self, split, what):
        return self.folder / f"{split}_{what}"

    def put(self, split, what, content, protocol=4):
        self.path(split, what).write_bytes(pickle.dumps(content, protocol))

    def write_labels(self, split, protocol=2, **changes):
        above = np.array(ABOVE[split])[self.labels[split]]
        content = {"label_specific": self.labels[split], "label_general": above,
                   "label_specific_str": SPECIFIC[split], "label_general_str": GENERAL[split]}  # fmt: skip
        self.put(split, "labels.pkl", {**content, **changes}, protocol)

    def write_pngs(self, column=True):
        """As OpenCV's encoder returns them: arrays of bytes, of one column in its older versions."""
        for split, images in self.images.items():
            encoded = [np.frombuffer(png(image), np.uint8) for image in images]
            self.put(split, "images_png.pkl", [file[:, None] if column else file for file in encoded])

    def write_npz(self, save=np.savez):
        """As the authors' tool unpacks them: blue first."""
        for split, images in self.images.items():
            save(self.path(split, "images.npz"), images=images[..., ::-1])


@pytest.fixture
def small(tmp_path):
    return Fixture(tmp_path / "official")


@pytest.fixture
def context(tmp_path, small):
    return DataContext(tmp_path / "cache", (small.folder.parent,))


def load(split, context):
    return TieredImagenet(SIZES).load(split, context)


def test_classes_groups_and_images(small, context):
    small.write_pngs()
    split = load("train", context)
    assert split.names == ("animal/crane", "animal/husky", "animal/tabby", "machine/crane")
    assert split.groups == ("animal", "animal", "animal", "machine")
    assert split.counts.tolist() == [4, 4, 3, 3]
    for place, label in enumerate([1, 0, 2, 3]):
        rows = np.flatnonzero(small.labels["train"] == label)
        got = split.images[split.starts[place] : split.starts[place + 1]]
        np.testing.assert_array_equal(got, small.images["train"][rows])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_all_forms_of_the_distribution_are_the_same_data(small, tmp_path, save):
    digests = []
    for number, write in enumerate((small.write_pngs, lambda: small.write_pngs(False), lambda: small.write_npz(save))):
        for file in small.folder.glob("*_images*"):
            file.unlink()
        write()
        context = DataContext(tmp_path / f"cache{number}", (small.folder,))
        digests.append({split: split_digest(load(split, context)) for split in SIZES})
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_labels_alone_and_of_any_protocol(small, context, protocol):
    small.write_pngs()
    whole = load("val", context)
    small.put("val", "labels.pkl", {"labels": small.labels["val"].tolist()}, protocol)
    plain = load("val", context)
    assert plain.names == ("class000", "class001") and plain.groups == ()
    assert plain.counts.tolist() == [3, 2] and set(whole.names) == {"tree/oak", "tree/elm"}
    small.write_labels("val", protocol)
    assert load("val", context).names == whole.names


def test_second_open_reads_no_image_and_changed_files_are_read_again(small, context):
    small.write_pngs()
    first, mark = load("test", context), TieredImagenet(SIZES).fingerprint(context)
    again = load("test", context)
    assert isinstance(again.images, np.memmap) and again.images.filename == first.images.filename
    assert TieredImagenet(SIZES).fingerprint(context) == mark
    small.images["test"] = 255 - small.images["test"]
    small.write_pngs()
    os.utime(small.path("test", "images_png.pkl"), ns=(1, 1))
    assert TieredImagenet(SIZES).fingerprint(context) != mark
    np.testing.assert_array_equal(load("test", context).images, 255 - first.images)


def test_malicious_pickles_are_not_executed(small, context, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    small.write_pngs()
    small.put("test", "labels.pkl", {"labels": Evil()})
    with pytest.raises(MetabenchError, match=r"test_labels\.pkl: holds '.*mkdir', which is code and not data"):
        load("test", context)
    small.write_labels("test")
    small.put("test", "images_png.pkl", [Evil()] * 9)
    with pytest.raises(MetabenchError, match="which is code and not data"):
        load("test", context)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda s: s.put("test", "labels.pkl", [1, 2]), "test_labels.pkl: holds no dict of labels"),
        (lambda s: s.put("test", "labels.pkl", {"label": [1]}), "has no label_specific or labels"),
        (lambda s: s.put("test", "labels.pkl", {"labels": ["a"]}), "has no label_specific or labels"),
        (lambda s: s.write_labels("test", label_general=np.zeros(3, int)), "of 9 images and super-categories of 3"),
        (lambda s: s.put("test", "labels.pkl", {"labels": [0, 1, 2]}), "has 3 classes and 3 images instead of 3 and 9"),
        (lambda s: s.put("test", "images_png.pkl", [b"x"]), "holds 1 of images, and the labels are of 9"),
        (lambda s: s.put("test", "images_png.pkl", {}), "holds no list of images"),
        (lambda s: s.put("test", "images_png.pkl", [1] * 9), "image 0 is no encoded image"),
        (lambda s: s.put("test", "images_png.pkl", [b"x"] * 9), "is no JPEG or PNG"),
        (
            lambda s: s.put("test", "images_png.pkl", [png(np.zeros((9, 9, 3), np.uint8))] * 9),
            "is 9x9 instead of 84x84",
        ),
    ],
)
def test_damage_is_named(small, context, damage, words):
    small.write_pngs()
    damage(small)
    with pytest.raises(MetabenchError) as caught:
        load("test", context)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert list(context.cache.rglob("test-*.npy")) == []


@pytest.mark.parametrize("damage", ["text", "cut", "shape", "name"])
def test_damaged_npz(small, context, damage):
    small.write_npz()
    path = small.path("test", "images.npz")
    if damage == "text":
        path.write_bytes(b"not a zip")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "shape":
        np.savez(path, images=np.zeros((9, 84, 84), np.uint8))
    else:
        np.savez(path, pixels=np.zeros((9, 84, 84, 3), np.uint8))
    with pytest.raises(MetabenchError, match=r"test_images\.npz: (not a readable npz|images are)"):
        load("test", context)


def test_no_data_says_how_to_come_by_it(small, context, tmp_path):
    with pytest.raises(MissingError, match=r"no test_images_png\.pkl \(or test_images\.npz\) found"):
        load("test", context)
    small.write_pngs()
    small.path("val", "labels.pkl").unlink()
    with pytest.raises(MissingError, match=r"no val_labels\.pkl found .*few-shot-ssl-public"):
        load("val", context)
    with pytest.raises(UsageError, match="no split 'all'"):
        load("all", context)
    assert sum(size.classes for size in SPEC.sizes.values()) == 608
    assert sum(size.images for size in SPEC.sizes.values()) == 779_165


def real_tiered():
    """The folder that holds the six files, or the folder of them."""
    given = [Path(part) for part in os.environ.get("METABENCH_DATA", "").split(os.pathsep) if part]
    for folder in [*given, Path(__file__).parents[2].parent / "shared" / "data"]:
        if any((folder / sub / "test_labels.pkl").exists() for sub in SUBFOLDERS):
            return folder
    pytest.skip("no tieredImageNet in METABENCH_DATA or ../shared/data")
