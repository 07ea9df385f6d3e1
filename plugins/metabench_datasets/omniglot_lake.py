"""Omniglot's one-shot classification task: the authors' 20 runs of 20 trials (Lake et al., 2015).

A run is an alphabet of the evaluation set, 20 of its characters and two of its drawers: one drew the training image of
each character, the other the test images. Ten alphabets with two pairs of drawers make 20 runs, 400 trials.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    ArchiveReader,
    ClassSplit,
    DataContext,
    DatasetSpec,
    MetabenchError,
    MissingError,
    Param,
    SplitSize,
    UsageError,
    cached_array,
    download_folder,
    find_source,
    open_archive,
)
from metabench_datasets._omniglot import SIDE, read_drawing
from metabench_datasets.omniglot import FILTERS, SUBFOLDERS, scaled

RUNS, CLASSES = 20, 20
FILES = ("all_runs.zip", "omniglot_one_shot_runs.zip", "all_runs")
SOURCE = "https://github.com/brendenlake/omniglot, python/one-shot-classification"
_PIXELS = "5a6ad76fa9104d13510091e134fa50345e8582fcfedb2e04e40b9890c96a382a"
"""SHA-256 of the published drawings in the order of `OmniglotLake.load`, packed to one bit per pixel (ink = 1)."""
_PAIR = re.compile(r"run\d\d/test/(item\d\d)\.png\s+run\d\d/training/class(\d\d)\.png")
_REMEDY = "get the official file again"

SPEC = DatasetSpec(
    name="omniglot-lake",
    version=1,
    target="metabench_datasets.omniglot_lake:OmniglotLake",
    summary="Omniglot's one-shot task: the authors' 20 runs of 20-way trials, 105x105 (protocol lake-runs)",
    reference="Lake, Salakhutdinov & Tenenbaum, Science 350 (2015), Human-level concept learning",
    licence="MIT",
    params=(
        Param("size", SIDE, "side of the images in pixels, 8 to 256; 28 for what is trained on omniglot"),
        Param("resample", "nearest", "resizing, as of omniglot", tuple(FILTERS)),
    ),
    splits=("test",),
    image_shape=(1, SIDE, SIDE),
    sizes={"test": SplitSize(RUNS * CLASSES, 2 * RUNS * CLASSES)},
    digests={"test": "3a3f569042004d3872fc1eac0e9a04062f4caf6f91c277f1a3a7c8d487ac1e7c"},
    download=True,
    protocol="lake-runs",
)


class OmniglotLake:
    """The dataset at one size.

    Args:
        size: side of the images.
        resample: ``"nearest"`` or ``"average"``, see `metabench_datasets.omniglot.Omniglot`.

    Raises:
        UsageError: a size out of range.
    """

    def __init__(self, size: int = SIDE, resample: str = "nearest") -> None:
        """Choose the form; nothing is read yet."""
        if not 8 <= size <= 256:
            raise UsageError(f"omniglot-lake: size must be 8 to 256, not {size}")
        if resample not in FILTERS:
            raise UsageError(f"omniglot-lake: resample must be {' or '.join(FILTERS)}, not {resample!r}")
        self.size, self.resample = size, resample

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return the split ``"test"``, decoded on first use and memory-mapped from then on.

        Returns:
            images uint8 (800, size, size, 1), ink 255; each of the 400 classes is a class of one run, its training
            image first and then its test image, and the groups are the runs.

        Raises:
            UsageError: another split.
            MissingError: the file is not here.
            MetabenchError: it is damaged or holds other drawings than the published ones.
        """
        if split != "test":
            raise UsageError(f"omniglot-lake: there is only the split 'test', not {split!r}")
        names = tuple(f"run{run:02}/class{number:02}" for run in range(1, RUNS + 1) for number in range(1, CLASSES + 1))
        starts = np.arange(len(names) + 1, dtype=np.int64) * 2

        def build(out: NDArray[np.uint8]) -> None:
            self._decode(context, out)

        path = context.cache / f"v{SPEC.version}-{self.size}-{self.resample}" / "test.npy"
        images = cached_array(path, (2 * len(names), self.size, self.size, 1), build)
        return ClassSplit(images, starts, names, tuple(name.partition("/")[0] for name in names))

    def _decode(self, context: DataContext, out: NDArray[np.uint8]) -> None:
        """Fill `out`, verifying the drawings."""
        path = find_source(FILES, context, (*SUBFOLDERS, *(f"{sub}/one-shot-classification" for sub in SUBFOLDERS)))
        if path is None:
            raise MissingError(
                f"omniglot-lake: {FILES[0]} not found; get it from {SOURCE}, and put it into "
                f"{download_folder(context)} or run `metabench datasets download omniglot-lake "
                "--from DIR` with the folder that holds it"
            )
        content, row = hashlib.sha256(), 0
        with open_archive(path) as archive:
            for run in range(1, RUNS + 1):
                context.progress("one-shot runs", run - 1, RUNS)
                for drawing in (read_drawing(archive, name) for name in _files(archive, f"run{run:02}/")):
                    content.update(np.packbits(drawing > 127).tobytes())
                    out[row, :, :, 0] = scaled(drawing, 0, self.size, self.resample)
                    row += 1
        context.progress("one-shot runs", RUNS, RUNS)
        if content.hexdigest() != _PIXELS:
            raise MetabenchError(
                f"{path}: has other drawings than published (digest {content.hexdigest()[:12]}, expected "
                f"{_PIXELS[:12]}); {_REMEDY}"
            )


def _files(archive: ArchiveReader, run: str) -> list[str]:
    """Return the files of a run: of each class the training image and the test image that the labels give it.

    Raises:
        MetabenchError: the labels are missing, or do not give every class one test image.
    """
    (labels,) = [name for name in archive.names() if name.endswith(f"{run}class_labels.txt")] or [""]
    if not labels:
        raise MetabenchError(f"{archive.path}: has no {run}class_labels.txt; {_REMEDY}")
    pairs = _PAIR.findall(archive.read(labels).decode("ascii", "replace"))
    top, item_of = labels.removesuffix("class_labels.txt"), {int(number): item for item, number in pairs}
    if len(pairs) != CLASSES or sorted(item_of) != list(range(1, CLASSES + 1)):
        raise MetabenchError(
            f"{archive.path}: {labels} does not give each of {CLASSES} classes a test image; {_REMEDY}"
        )
    return [
        name
        for number in range(1, CLASSES + 1)
        for name in (f"{top}training/class{number:02}.png", f"{top}test/{item_of[number]}.png")
    ]
