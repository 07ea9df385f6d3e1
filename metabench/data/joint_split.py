"""Base classes together with the measured ones (generalised few-shot), and their images held out from training.

A *reserve* is a share of the images of each class of a split. It is chosen once and for all by the content of the
split: what training draws from and what is asked about later can be told apart by anybody who has the data, and images
once reserved stay so where the share grows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit, image_digest
from metabench.data.split import RowIndices
from metabench.errors import UsageError
from metabench.utils.random_streams import Stream

Mask = NDArray[np.bool_]


def reserve_mask(split: ClassSplit, digest: str, share: float) -> Mask:
    """Return which images (N,) of a split are reserved: `share` of each class, rounded, and at least one.

    Args:
        digest: of the split.

    Raises:
        UsageError: `share` is no share, or a class has a single image.
    """
    if not 0 < share < 1:
        raise UsageError(f"the reserve is a share of a class's images, between 0 and 1, not {share:g}")
    smallest = int(np.argmin(split.counts))
    if split.counts[smallest] < 2:
        raise UsageError(f"class '{split.names[smallest]}' has one image, which cannot be both trained on and reserved")
    words = Stream(["reserve", digest], int(split.starts[-1])).words(0, 1)[0]
    owner = np.repeat(np.arange(len(split.counts)), split.counts)
    order = np.lexsort((words, owner))  # class by class
    place = np.arange(len(order)) - split.starts[owner]
    taken = np.clip(np.rint(share * split.counts).astype(np.int64), 1, split.counts - 1)
    mask = np.zeros(len(order), dtype=bool)
    mask[order[place < taken[owner]]] = True
    return mask


def with_copies(images: NDArray[np.uint8], mask: Mask) -> Mask:
    """Return a mask (N,) that also has every image that is, pixel for pixel, one of those in `mask`; reads all."""
    held = {image_digest(images[row]) for row in np.flatnonzero(mask)}
    copies = [row for row in np.flatnonzero(~mask) if image_digest(images[row]) in held]
    wider = mask.copy()
    wider[copies] = True
    return wider


def starts_of(split: ClassSplit, mask: Mask) -> NDArray[np.int64]:
    """Return the class boundaries (C + 1,) among the images of a mask (N,)."""
    boundaries: NDArray[np.int64] = np.concatenate([[0], np.cumsum(mask)])[split.starts]
    return boundaries


@dataclass(frozen=True)
class JointSplit(ClassSplit):
    """Measured classes together with base classes (generalised few-shot).

    Everything that a `ClassSplit` has is of the measured classes. The rows of episodes go on after their images: first
    those images of base classes that training may see, then the reserve, each class by class.

    Attributes:
        base_starts: int64 (B + 1,); base class c has the rows ``base_starts[c] .. base_starts[c+1]`` for training.
        reserve_starts: int64 (B + 1,); and those from ``reserve_starts[c]`` on that training never sees.
        base_names: the name of each base class.
    """

    base_starts: NDArray[np.int64] = dataclasses.field(kw_only=True)
    reserve_starts: NDArray[np.int64] = dataclasses.field(kw_only=True)
    base_names: tuple[str, ...] = dataclasses.field(kw_only=True)

    def class_of(self, rows: RowIndices) -> RowIndices:
        """Return the class of each row: a number below ``len(names)``, or that and the number of a base class."""
        novel = np.searchsorted(self.starts, rows, side="right") - 1
        base, asked = (np.searchsorted(s, rows, side="right") - 1 for s in (self.base_starts, self.reserve_starts))
        return np.where(
            rows < self.starts[-1], novel, len(self.names) + np.where(rows < self.base_starts[-1], base, asked)
        )


def join_splits(measured: ClassSplit, base: ClassSplit, mask: Mask) -> JointSplit:
    """Return the measured classes together with base classes, whose images in `mask` are the reserve."""
    first = int(measured.starts[-1])
    base_starts = first + starts_of(base, ~mask)
    return JointSplit(
        measured.images,
        measured.starts,
        measured.names,
        measured.groups,
        base_starts=base_starts,
        reserve_starts=base_starts[-1] + starts_of(base, mask),
        base_names=base.names,
    )


def base_rows(mask: Mask) -> RowIndices:
    """Return which row of the base split stands at each row of a `JointSplit` after those of the measured classes."""
    return np.concatenate([np.flatnonzero(~mask), np.flatnonzero(mask)])
