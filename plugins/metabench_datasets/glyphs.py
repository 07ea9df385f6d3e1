"""Glyphs: unlimited handwritten-looking characters, drawn on the spot, so that nothing has to be fetched.

A class is a random program of a few strokes; an instance is that program written once by a shaky hand.
Class c and instance j depend on (version, c, j) alone: asking for more of either changes none of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    ClassSplit,
    DataContext,
    DatasetSpec,
    MetabenchError,
    Param,
    SplitSize,
    Stream,
    UsageError,
    file_sha256,
    read_bounded,
    replacing,
    write_atomic,
)
from metabench_datasets import _strokes

VERSION = 1
MOST_CLASSES = 1_000_000
"""Classes that a split may have; the splits begin this far apart, so that none grows into another."""
MOST_INSTANCES = 10_000
_FIRST_CLASS = {"train": 0, "val": MOST_CLASSES, "test": 2 * MOST_CLASSES}
_BLOCK = 256  # images drawn at once: few enough to stay in the processor's cache


def draw(first: int, stop: int, instances: int) -> NDArray[np.uint8]:
    """Draw classes ``first <= c < stop``, the first `instances` of each, as (N, 28, 28, 1) in class order."""
    words = Stream(["glyphs", VERSION, "class"], _strokes.CLASS_WORDS).words(first, stop)
    hands = [
        Stream(["glyphs", VERSION, "instance", c], _strokes.INSTANCE_WORDS).words(0, instances)
        for c in range(first, stop)
    ]
    control = np.repeat(_strokes.programs(words), instances, axis=0)
    points, pen = _strokes.write(control, np.concatenate(hands))
    blocks = [slice(row, row + _BLOCK) for row in range(0, len(pen), _BLOCK)]
    return np.concatenate([_strokes.ink(points[block], pen[block]) for block in blocks])[..., None]


class Glyphs:
    """Dataset with the given numbers of classes in each split and images in each class.

    Raises:
        UsageError: a count that is not a whole number in range.
    """

    def __init__(
        self, train_classes: int = 600, val_classes: int = 100, test_classes: int = 200, instances: int = 20
    ) -> None:
        self._classes = {
            "train": _count("train_classes", train_classes, MOST_CLASSES),
            "val": _count("val_classes", val_classes, MOST_CLASSES),
            "test": _count("test_classes", test_classes, MOST_CLASSES),
        }
        self._instances = _count("instances", instances, MOST_INSTANCES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (1, _strokes.SIZE, _strokes.SIZE)

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return split ``train``, ``val`` or ``test``, memory-mapped from `context.cache`.

        Raises:
            UsageError: there is no such split.
            MetabenchError: the cache cannot be written.
        """
        if split not in self._classes:
            raise UsageError(f"glyphs has no split '{split}'; known: {', '.join(self._classes)}")
        classes, first = self._classes[split], _FIRST_CLASS[split]
        path = context.cache / f"glyphs-v{VERSION}-{split}-{classes}x{self._instances}.npy"
        if not _intact(path):
            try:
                self._store(split, path, context)
            except OSError as error:
                raise MetabenchError(
                    f"glyphs cannot write its cache {path} ({error.strerror or error}); "
                    "free some space or choose a cache folder that can be written"
                ) from error
        return ClassSplit(
            images=np.load(path, mmap_mode="r"),
            starts=np.arange(classes + 1, dtype=np.int64) * self._instances,
            names=tuple(f"glyph{c:07d}" for c in range(first, first + classes)),
        )

    def _store(self, split: str, path: Path, context: DataContext) -> None:
        """Draw a split into `path`, with its checksum beside it; a reader never sees half a file."""
        shape = (self._classes[split] * self._instances, _strokes.SIZE, _strokes.SIZE, 1)
        with replacing(path) as draft:
            with draft.open("wb") as stream:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
                for block in self._blocks(split, context):
                    stream.write(block.tobytes())
            digest = file_sha256(draft)
        write_atomic(_checksum(path), digest)

    def _blocks(self, split: str, context: DataContext) -> Iterator[NDArray[np.uint8]]:
        first, classes = _FIRST_CLASS[split], self._classes[split]
        step = max(1, _BLOCK // self._instances)
        for done in range(0, classes, step):
            context.progress(f"drawing glyphs ({split})", done, classes)
            yield draw(first + done, first + min(done + step, classes), self._instances)
        context.progress(f"drawing glyphs ({split})", classes, classes)


def _count(name: str, value: int, most: int) -> int:
    # bool is an int to Python, but nobody means "true classes".
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"glyphs: {name} must be a whole number from 1 to {most}, not {value!r}")
    return value


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _intact(path: Path) -> bool:
    """Return whether `path` is complete and unaltered since it was written."""
    try:
        return read_bounded(_checksum(path), 64) == file_sha256(path).encode()
    except (OSError, UsageError):
        return False


SPEC = DatasetSpec(
    name="glyphs",
    version=VERSION,
    target="metabench_datasets.glyphs:Glyphs",
    summary="Generated handwritten-looking characters; needs no download",
    reference=(
        "metabench; stroke programs in the spirit of Lake, Salakhutdinov and Tenenbaum (2015), "
        "Human-level concept learning through probabilistic program induction, doi:10.1126/science.aab3050"
    ),
    licence="MIT",
    params=(
        Param("train_classes", 600, "classes in the train split"),
        Param("val_classes", 100, "classes in the val split"),
        Param("test_classes", 200, "classes in the test split"),
        Param("instances", 20, "images of each class"),
    ),
    image_shape=(1, _strokes.SIZE, _strokes.SIZE),
    sizes={"train": SplitSize(600, 12_000), "val": SplitSize(100, 2_000), "test": SplitSize(200, 4_000)},
    digests={
        "train": "8a7989b95adfed90ceb12919d5245e90a95b83f28b65ece1ca976ac7864c3994",
        "val": "fa55dfdea4e6ce2b6308855ea74c9cff7c18d4032d12ce5c851ce1c657b3a60f",
        "test": "af0f177b58c53cbb6139241a4a04e57088596d3332b51bd446f92b4271e7e600",
    },
)
