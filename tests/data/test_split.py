import numpy as np
import pytest

from metabench.data import ClassSplit, merge_splits, split_digest


def split(first, classes, groups=()):
    """Two images of one pixel for each class; pixel values count up from `first`."""
    images = np.arange(first, first + 2 * classes, dtype=np.uint8).reshape(-1, 1, 1, 1)
    names = tuple(f"c{first}-{index}" for index in range(classes))
    return ClassSplit(images, np.arange(classes + 1, dtype=np.int64) * 2, names, groups)


def test_merged_splits_keep_their_classes_and_groups():
    both = merge_splits(split(0, 2, ("a", "b")), split(100, 1, ("a",)))
    assert both.names == ("c0-0", "c0-1", "c100-0") and both.groups == ("a", "b", "a")
    assert both.starts.tolist() == [0, 2, 4, 6]
    assert both.images.ravel().tolist() == [0, 1, 2, 3, 100, 101]


@pytest.mark.parametrize("groups", [(), ("a", "b")])
def test_groups_of_one_part_alone_are_dropped(groups):
    """Half of the classes in a group would make the others look like a group of their own."""
    assert merge_splits(split(0, 2, groups), split(100, 1)).groups == ()


def test_groups_are_not_in_the_digest():
    assert split_digest(split(0, 2)) == split_digest(split(0, 2, ("a", "b")))
