import numpy as np

from metabench.data import ClassSplit, image_digest
from metabench.data.duplicates import by_splits, duplicates


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
