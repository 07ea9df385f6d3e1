"""Datasets with one fault each: all in one file, made of the same random images."""

import numpy as np

from metabench.api import ClassSplit, DatasetSpec, SplitSize, hookimpl, split_digest

SIZES = {"train": SplitSize(4, 20), "val": SplitSize(2, 10), "test": SplitSize(3, 15)}
FIRST = {"train": 0, "val": 4, "test": 6}


def images(first, classes):
    """Five images of 8x8 pixels for each class; class c is always the same."""
    return np.concatenate(
        [
            np.random.Generator(np.random.Philox(key=c)).integers(0, 256, (5, 8, 8, 1), np.uint8)
            for c in range(first, first + classes)
        ]
    )


class Sound:
    """Nothing is wrong with it."""

    def load(self, split, context):
        first, classes = FIRST[split], SIZES[split].classes
        names = tuple(f"class{c}" for c in range(first, first + classes))
        return ClassSplit(images(first, classes), np.arange(classes + 1, dtype=np.int64) * 5, names)


class SharedClass(Sound):
    """The first test class is a training class, by name."""

    def load(self, split, context):
        data = super().load(split, context)
        names = ("class0", *data.names[1:]) if split == "test" else data.names
        return ClassSplit(data.images, data.starts, names)


class SharedImage(Sound):
    """One test image is a training image."""

    def load(self, split, context):
        data = super().load(split, context)
        if split == "test":
            data.images[7] = images(0, 1)[3]
        return data


class Changing(Sound):
    """Other pixels at every load."""

    loads = 0

    def load(self, split, context):
        data = super().load(split, context)
        Changing.loads += 1
        data.images[0, 0, 0, 0] = Changing.loads
        return data


class Short(Sound):
    """The last image of each split is missing."""

    def load(self, split, context):
        data = super().load(split, context)
        starts = data.starts.copy()
        starts[-1] -= 1
        return ClassSplit(data.images[:-1], starts, data.names)


class Gap(Sound):
    """The boundaries do not reach the last image."""

    def load(self, split, context):
        data = super().load(split, context)
        starts = data.starts.copy()
        starts[-1] -= 1
        return ClassSplit(data.images, starts, data.names)


class Ungrouped(Sound):
    """The last class belongs to no group."""

    def load(self, split, context):
        data = super().load(split, context)
        return ClassSplit(data.images, data.starts, data.names, ("group",) * (len(data.names) - 1))


def spec(name, target):
    loaded = {split: target().load(split, None) for split in SIZES}
    return DatasetSpec(
        name=name,
        version=1,
        target=f"dataset_faults:{target.__name__}",
        summary="random dots",
        reference="none",
        licence="MIT",
        image_shape=(1, 8, 8),
        sizes=SIZES,
        digests={split: split_digest(data) for split, data in loaded.items()},
    )


@hookimpl
def metabench_datasets():
    faults = (Sound, SharedClass, SharedImage, Changing, Short, Gap, Ungrouped)
    names = ("sound", "shared-class", "shared-image", "changing", "short", "gap", "ungrouped")
    return [spec(f"dataset-{name}", fault) for name, fault in zip(names, faults, strict=True)]
