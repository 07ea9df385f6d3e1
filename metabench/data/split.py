"""Split of a dataset: items sorted by class, and its digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassSplit:
    """The images (or other items) of one split, sorted by class.

    `starts` may be given as any integers in a row, `names` and `groups` as any texts in a row; they become what is
    said below. Whatever cannot stays as it is, and is refused when a run or ``metabench check`` loads it.

    Attributes:
        images: uint8 (N, height, width, channels), in memory or memory-mapped; text is (N, bytes), each row one
            text in UTF-8, filled up with zeros.
        starts: int64 (classes + 1,); class c owns rows ``starts[c] .. starts[c+1]``.
        names: the name of each class.
        groups: for each class what it belongs to (its alphabet, its superclass); empty where the dataset has no such
            thing. No part of the digest.
    """

    images: NDArray[np.uint8]
    starts: NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Bring boundaries and names to their types."""
        object.__setattr__(self, "starts", _as_int64(self.starts))
        object.__setattr__(self, "names", _as_texts(self.names))
        object.__setattr__(self, "groups", _as_texts(self.groups))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images in each class, shape (classes,)."""
        return np.diff(self.starts)

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item as a backbone gets it: (channels, height, width) of images, (bytes,) of text."""
        shape = self.images.shape[1:]
        return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape

    def class_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the class of each row."""
        classes: NDArray[np.int64] = np.searchsorted(self.starts, rows, side="right") - 1
        return classes


def _as_int64(values: Any) -> Any:
    """Return a list, tuple or array of integers as an int64 array; anything else as it is."""
    if not isinstance(values, (list, tuple, np.ndarray)):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        return values
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iu" else values


def _as_texts(values: Any) -> Any:
    """Return a list, tuple or array of texts as a tuple of str; anything else as it is."""
    if isinstance(values, (list, tuple, np.ndarray)) and all(isinstance(value, str) for value in values):
        return tuple(map(str, values))
    return values


def merge_splits(first: ClassSplit, second: ClassSplit, images: NDArray[np.uint8] | None = None) -> ClassSplit:
    """Return the classes of both splits as one split, those of `first` first; `images` are all theirs, if at hand."""
    images = np.concatenate([first.images, second.images]) if images is None else images
    starts = np.concatenate([first.starts, second.starts[1:] + len(first.images)])
    groups = first.groups + second.groups if first.groups and second.groups else ()
    return ClassSplit(images, starts, first.names + second.names, groups)


def image_digest(image: NDArray[np.uint8]) -> str:
    """Return 16 hexadecimal digits that tell the pixels of one image (height, width, channels) from others."""
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).hexdigest()


def split_digest(split: ClassSplit) -> str:
    """Return the SHA-256 of a split's decoded content: shape, class boundaries, pixels (not names)."""
    digest = hashlib.sha256(repr(split.images.shape).encode())
    digest.update(np.ascontiguousarray(split.starts, dtype="<i8").tobytes())
    step = max(1, (1 << 24) // max(1, int(np.prod(split.images.shape[1:]))))
    for row in range(0, len(split.images), step):
        digest.update(np.ascontiguousarray(split.images[row : row + step]).tobytes())
    return digest.hexdigest()


RowIndices = NDArray[np.int64]
