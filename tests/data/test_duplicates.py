from pathlib import Path

import numpy as np

from metabench.data import ClassSplit, image_digest
from metabench.data.duplicates import ItemDigests, by_splits, count_copies, duplicates, items_of


def split(*values):
    images = np.array(values, np.uint8)[:, None, None, None].repeat(2, 1)
    return ClassSplit(images, np.array([0, len(values)]), ("c",))


def digest(value):
    return image_digest(np.full((2, 1, 1), value, np.uint8))


def test_images_are_found_within_and_across_splits():
    found = duplicates({"train": split(1, 2, 2, 3), "val": split(3, 4), "test": split(3, 4, 5)})
    assert found == {
        digest(2): [("train", 1), ("train", 2)],
        digest(3): [("train", 3), ("val", 0), ("test", 0)],
        digest(4): [("val", 1), ("test", 1)],
    }
    assert by_splits(found) == {
        ("train",): [digest(2)],
        ("train", "val", "test"): [digest(3)],
        ("val", "test"): [digest(4)],
    }
    assert duplicates({"train": split(1), "test": split(2)}) == {}


def test_the_digest_of_an_item_is_its_image_digest_however_it_lies(tmp_path):
    images = np.arange(60, dtype=np.uint8).reshape(5, 2, 2, 3)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    wanted = [image_digest(image) for image in images]
    steps = []
    for form in (images, np.asfortranarray(images), mapped, mapped[:5]):
        found = items_of(ClassSplit(form, [0, 2, 5], ("a", "b")), steps.append)
        assert [f"{digest:016x}" for digest in found.digests] == wanted
        assert found.classes.tolist() == [0, 0, 1, 1, 1]
    assert steps == [5] * 4


def counted(digests, classes):
    return count_copies(ItemDigests(np.array(digests, np.uint64), np.array(classes)))


def test_copies_are_counted_without_the_first():
    assert counted([1, 2, 3, 4], [0, 0, 1, 1]) == (0, 0)
    assert counted([1, 2, 1, 1], [0, 0, 0, 0]) == (2, 0)
    assert counted([1, 2, 1, 1], [0, 0, 1, 2]) == (0, 2)
    assert counted([1, 1, 1, 1, 5], [0, 0, 1, 1, 1]) == (2, 1)
    assert counted([], []) == (0, 0)


def test_reading_a_memory_map_keeps_none_of_it(tmp_path):
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (1 << 12, 84, 84, 3)).flush()  # 87 MB of zeros
    images = np.load(tmp_path / "large.npy", mmap_mode="r")
    assert count_copies(items_of(ClassSplit(images, [0, 1 << 12], ("a",)))) == ((1 << 12) - 1, 0)
    (mapping,) = Path("/proc/self/smaps").read_text().split(str(tmp_path / "large.npy"))[1:]
    assert int(mapping.partition("Rss:")[2].split()[0]) < 20_000  # kB in memory
