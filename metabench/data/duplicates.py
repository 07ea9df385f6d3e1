"""Items that a dataset holds more than once: equal in every byte of the prepared array."""

from __future__ import annotations

import hashlib
import mmap
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.data.split import ClassSplit

SplitRow = tuple[str, int]
"""Split and row."""
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class ItemDigests:
    """The items of a split without their content.

    Attributes:
        digests: uint64 (N,); its hexadecimal digits are the `metabench.data.image_digest` of an item.
        classes: int64 (N,), the class of each.
    """

    digests: NDArray[np.uint64]
    classes: NDArray[np.int64]


def items_of(split: ClassSplit, report: Callable[[int], None] = lambda done: None) -> ItemDigests:
    """Return digest and class of every item of a split; see `item_digests`."""
    classes = np.repeat(np.arange(len(split.counts)), split.counts)
    return ItemDigests(item_digests(split.images, report), classes)


def item_digests(images: NDArray[np.uint8], report: Callable[[int], None] = lambda done: None) -> NDArray[np.uint64]:
    """Return the digest of every item (N, ...), (N,); reads all of them, block by block.

    Args:
        report: is called with the number of items read so far.
    """
    digests = list[bytes]()
    step = max(1, _BLOCK_BYTES // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, len(images), step):
        block = np.ascontiguousarray(images[start : start + step])
        digests += [hashlib.blake2b(item.data, digest_size=8).digest() for item in block.reshape(len(block), -1)]
        _release(images)
        report(start + len(block))
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def count_copies(items: ItemDigests) -> tuple[int, int]:
    """Return the copies within a class and those in another class, in both not counting the first of each item."""
    if len(items.digests) == 0:
        return 0, 0
    order = np.lexsort((items.classes, items.digests))
    digests, classes = items.digests[order], items.classes[order]
    other_item = digests[1:] != digests[:-1]
    other_class = ~other_item & (classes[1:] != classes[:-1])
    return int((~other_item & ~other_class).sum()), int(other_class.sum())


def duplicates(splits: Mapping[str, ClassSplit]) -> dict[str, list[SplitRow]]:
    """Return the places of every item (by its `image_digest`) that is there more than once; reads all items."""
    if not splits:
        return {}
    digests = np.concatenate([item_digests(data.images) for data in splits.values()])
    names, starts = list(splits), np.cumsum([0, *(len(data.images) for data in splits.values())])
    _, number, counts = np.unique(digests, return_inverse=True, return_counts=True)
    places: dict[str, list[SplitRow]] = defaultdict(list)
    for index in np.flatnonzero(counts[number] > 1):
        owner = int(np.searchsorted(starts, index, side="right")) - 1
        places[f"{digests[index]:016x}"].append((names[owner], int(index - starts[owner])))
    return dict(places)


def by_splits(duplicated: Mapping[str, list[SplitRow]]) -> dict[tuple[str, ...], list[str]]:
    """Return the digests of images by the splits that they are in, which is one where it holds all of them."""
    grouped: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for digest, places in duplicated.items():
        grouped[tuple(dict.fromkeys(split for split, _ in places))].append(digest)
    return dict(grouped)


def _release(images: NDArray[np.uint8]) -> None:
    """Give the pages of a read-only memory map back, so that reading all of it does not take memory for all of it."""
    if isinstance(images, np.memmap) and images.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapped = getattr(images, "_mmap", None)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)
