"""Labels and images in the files of tieredImageNet's distribution."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from metabench.api import LazyBytes, MetabenchError, PickledArray, PickledBytes, open_pickle

MOST_STEPS = 40_000_000
"""Of the machine that reads half a million images or labels."""
_REMEDY = "get the official file again"
_BLOCK_BYTES = 16 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError, KeyError)


@dataclass(frozen=True)
class Sorted:
    """The rows of a file in the order of their classes.

    Attributes:
        rows: int64 (N,), rows of the file, class by class.
        starts: int64 (classes + 1,).
        names, groups: of the classes; groups are empty where the labels have no super-categories.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]


def read_labels(path: Path) -> Sorted:
    """Read a file of labels.

    Either ``label_specific`` with ``label_general`` and the names of both (the authors' own), or only ``labels``.

    Raises:
        MetabenchError: it holds something else.
    """
    with open_pickle(path, MOST_STEPS) as content:
        if not isinstance(content, dict):
            raise MetabenchError(f"{path}: holds no dict of labels; {_REMEDY}")
        columns = {_text(key): value for key, value in content.items()}
        labels = _numbers(columns.get("label_specific", columns.get("labels")), path, "label_specific or labels")
        above = _numbers(columns["label_general"], path, "label_general") if "label_general" in columns else None
        names = [_names(columns.get(f"{part}_str")) for part in ("label_specific", "label_general")]
    if above is not None and len(above) != len(labels):
        counts = f"labels of {len(labels)} images and super-categories of {len(above)}"
        raise MetabenchError(f"{path}: has {counts}; {_REMEDY}")
    classes, first = np.unique(labels, return_index=True)
    groups = [] if above is None else [_name(names[1], int(above[row]), "group") for row in first]
    specific = [_name(names[0], int(label), "class") for label in classes]
    full = [f"{group}/{name}" for group, name in zip(groups, specific, strict=True)] if groups else specific
    if len(set(full)) != len(full):  # two classes of one English name
        full = [f"{name} {label}" for name, label in zip(full, classes, strict=True)]
    return _sorted(labels, classes, full, groups)


def _sorted(labels: NDArray[np.int64], classes: NDArray[np.int64], names: list[str], groups: list[str]) -> Sorted:
    """Order by the names of classes, and within one as in the file."""
    order = sorted(range(len(classes)), key=names.__getitem__)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    places = place[np.searchsorted(classes, labels)]
    starts = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=len(order)))]).astype(np.int64)
    return Sorted(
        np.argsort(places, kind="stable").astype(np.int64),
        starts,
        tuple(names[index] for index in order),
        tuple(groups[index] for index in order) if groups else (),
    )


def _numbers(value: Any, path: Path, what: str) -> NDArray[np.int64]:
    """Return labels as int64 (N,), from an array or a list of whole numbers."""
    if isinstance(value, PickledArray):
        array = value.load()
        if array.ndim == 1 and array.size and array.dtype.kind in "iu":
            return array.astype(np.int64)
    if isinstance(value, list) and value and all(type(label) is int and abs(label) < 2**31 for label in value):
        return np.array(value, dtype=np.int64)
    raise MetabenchError(f"{path}: has no {what}, one whole number for each image; {_REMEDY}")


def _names(value: Any) -> Sequence[str]:
    """Return the names of labels by number; none where there are none."""
    return [_text(name) for name in value if isinstance(name, (str, bytes))] if isinstance(value, list) else []


def _name(names: Sequence[str], label: int, kind: str) -> str:
    return names[label] if 0 <= label < len(names) else f"{kind}{label:03}"


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def png_places(content: Any, count: int, path: Path) -> list[PickledBytes]:
    """Return where in the file each PNG is, or its bytes; MetabenchError if that is not what the file holds."""
    if not isinstance(content, list) or len(content) != count:
        count_text = f"{len(content)}" if isinstance(content, list) else "no list"
        raise MetabenchError(f"{path}: holds {count_text} of images, and the labels are of {count}; {_REMEDY}")
    places = []
    for index, item in enumerate(content):
        place = item.data if isinstance(item, PickledArray) and item.dtype and item.dtype.code == "u1" else item
        if not isinstance(place, (bytes, LazyBytes)):
            raise MetabenchError(f"{path}: image {index} is no encoded image; {_REMEDY}")
        places.append(place)
    return places


class PixelRows:
    """The array ``images`` in an npz file, read block by block; its channels are blue, green, red.

    The authors' tool writes what OpenCV decodes, and OpenCV puts blue first; the PNG files have the true colours.

    Args:
        path: the npz file.
        shape: that the array must have.

    Raises:
        MetabenchError: it is damaged, or the array is not there or another one.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        try:
            self._zip = zipfile.ZipFile(path)
            self._stream = self._zip.open("images.npy")
            version = np.lib.format.read_magic(self._stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            actual, fortran, dtype = read(self._stream)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        if actual != shape or fortran or dtype != np.uint8:
            raise MetabenchError(f"{path}: images are {dtype} {actual} instead of uint8 {shape}; {_REMEDY}")

    def blocks(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the first row and the images (n, height, width, 3), red first, of some 16 MB at a time."""
        row_bytes = int(np.prod(self.shape[1:]))
        step = max(1, _BLOCK_BYTES // row_bytes)
        for first in range(0, self.shape[0], step):
            count = min(step, self.shape[0] - first)
            try:
                data = self._stream.read(count * row_bytes)
                block = np.frombuffer(data, np.uint8).reshape(count, *self.shape[1:])
            except _DAMAGE as error:
                raise self._damaged(error) from error
            yield first, block[..., ::-1]

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._zip.close()

    def _damaged(self, error: Exception) -> MetabenchError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return MetabenchError(f"{self.path}: not a readable npz with images ({reason}); {_REMEDY}")
