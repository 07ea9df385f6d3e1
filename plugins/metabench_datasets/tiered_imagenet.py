"""tieredImageNet (Ren et al., ICLR 2018) in its authors' distribution: three pairs of files, 84x84.

608 classes of ImageNet under 34 super-categories, and whole super-categories make the splits. The images of a split
are in a pickled list of PNG files or in an array; the labels are in a pickle. All of it is read without running a
pickle, and image by image, so that the 16 GB of pixels never are in memory.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    FINGERPRINT_LENGTH,
    ClassSplit,
    DataContext,
    DatasetSpec,
    ImageDecoder,
    ImageSource,
    MetabenchError,
    MissingError,
    PreparedCopies,
    SplitSize,
    UsageError,
    cached_array,
    cached_images,
    content_key,
    find_source,
    open_array,
    open_pickle,
)
from metabench_datasets._tiered import MOST_STEPS, PixelRows, Sorted, png_places, read_labels

SIDE = 84
SUBFOLDERS = ("", "tiered-imagenet", "tiered_imagenet", "tieredImageNet", "tieredimagenet", "tiered")
SIZES = {"train": SplitSize(351, 448_695), "val": SplitSize(97, 124_261), "test": SplitSize(160, 206_209)}

SPEC = DatasetSpec(
    name="tiered-imagenet",
    version=1,
    target="metabench_datasets.tiered_imagenet:TieredImagenet",
    summary="608 classes of ImageNet, 84x84, divided by super-category; from your own copy",
    reference="Ren et al., Meta-learning for semi-supervised few-shot classification, ICLR 2018",
    licence="ImageNet terms: non-commercial research, no redistribution",
    image_shape=(3, SIDE, SIDE),
    sizes=SIZES,
    digests={},
    download=True,
)


class TieredImagenet:
    """The dataset, from a copy in the user's folders.

    Args:
        sizes: classes and images of each split; None is the published ones.
    """

    def __init__(self, sizes: dict[str, SplitSize] | None = None) -> None:
        self.sizes = sizes or SIZES

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (3, SIDE, SIDE)

    def fingerprint(self, context: DataContext) -> str:
        """Return the fingerprint of the copy in use, from the names, sizes and times of its files.

        Raises:
            MissingError: a file is missing.
        """
        return content_key([_mark(self._files(split, context)) for split in self.sizes])[:FINGERPRINT_LENGTH]

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, decoded on first use; later it opens as a memory map, as long as its files are as they were.

        Returns:
            images uint8 (N, 84, 84, 3) in red, green, blue; classes by name, the images of a class in the order of the
            file. Where the labels have them, super-categories are the groups and the first part of a class's name.

        Raises:
            UsageError: there is no such split.
            MissingError: a file is missing.
            MetabenchError: files that do not belong together, or hold other things than images and labels.
        """
        if split not in self.sizes:
            raise UsageError(f"tiered-imagenet: there is no split {split!r}; use train, val or test")
        images, labels = files = self._files(split, context)
        order = read_labels(labels)
        size, actual = self.sizes[split], SplitSize(len(order.names), len(order.rows))
        if actual != size:
            raise MetabenchError(
                f"{labels}: has {actual.classes} classes and {actual.images} images instead of {size.classes} and "
                f"{size.images}; get the official file again"
            )
        prepared, mark = PreparedCopies(context.cache / f"v{SPEC.version}"), _mark(files)
        path, shape = prepared.path(split, mark), (size.images, SIDE, SIDE, 3)
        array = open_array(path, shape)
        if array is None:
            make = self._of_pngs if images.suffix == ".pkl" else self._of_pixels
            array = make(images, order, path, context, mark)
        return ClassSplit(array, order.starts, order.names, order.groups)

    @staticmethod
    def _of_pngs(images: Path, order: Sorted, path: Path, context: DataContext, mark: str) -> NDArray[np.uint8]:
        with ExitStack() as stack:
            content = stack.enter_context(open_pickle(images, MOST_STEPS))
            places = png_places(content, len(order.rows), images)
            file = os.open(images, os.O_RDONLY)
            stack.callback(os.close, file)

            def read(row: int) -> bytes:
                place = places[order.rows[row]]
                # Several threads read at once, so none may move a common position.
                return place if isinstance(place, bytes) else os.pread(file, place.length, place.offset)

            names = [f"{images.name}, image {row}" for row in order.rows]
            source = ImageSource(names, read, f"tiered-imagenet: {images.name}", "get the official file again")
            return cached_images(path, ImageDecoder(SIDE), source, context, plan=mark)

    @staticmethod
    def _of_pixels(images: Path, order: Sorted, path: Path, context: DataContext, mark: str) -> NDArray[np.uint8]:
        def build(out: NDArray[np.uint8]) -> None:
            place_of = np.argsort(order.rows)
            with PixelRows(images, out.shape) as rows:
                for first, block in rows.blocks():
                    context.progress("reading pixels", first, len(out))
                    out[place_of[first : first + len(block)]] = block
            context.progress("reading pixels", len(out), len(out))

        return cached_array(path, (len(order.rows), SIDE, SIDE, 3), build)

    @staticmethod
    def _files(split: str, context: DataContext) -> tuple[Path, Path]:
        """Return the files of the images and of the labels of a split."""
        images = find_source((f"{split}_images_png.pkl", f"{split}_images.npz"), context, SUBFOLDERS)
        labels = find_source((f"{split}_labels.pkl",), context, SUBFOLDERS)
        if images is None or labels is None:
            looked = ", ".join(map(str, context.sources)) or "no folder: none was given"
            lacking = f"{split}_images_png.pkl (or {split}_images.npz)" if images is None else f"{split}_labels.pkl"
            raise MissingError(
                f"tiered-imagenet: no {lacking} found (looked in {looked}). It cannot be downloaded freely: agree to "
                "ImageNet's terms at image-net.org and follow https://github.com/renmengye/few-shot-ssl-public, which "
                "gives {train,val,test}_images_png.pkl and {train,val,test}_labels.pkl; put them into "
                "DIR/tiered-imagenet and give --data DIR, or set METABENCH_DATA"
            )
        return images, labels


def _mark(files: tuple[Path, Path]) -> str:
    stats = [(file.name, file.stat()) for file in files]
    return content_key([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
