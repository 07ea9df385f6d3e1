"""Shared parts of the protocols: picking classes and images by random words, and the limits of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, Param, RowIndices, UsageError, choose, pluralise

Words = NDArray[np.uint64]

WAY = Param("way", 5, "classes in an episode")
SHOT = Param("shot", 1, "support images of each class")
QUERY = Param("query", 15, "query images of each class")


def at_least(*limits: tuple[str, int, int]) -> None:
    """Raise UsageError for the first (name, value, least) that is below its least value."""
    for name, value, least in limits:
        if value < least:
            raise UsageError(f"{name} must be at least {least}, not {value}")


def need_classes(split: ClassSplit, way: int, beside: int = 0, what: str = "") -> None:
    """Raise UsageError if there are too few classes.

    Args:
        way: classes in an episode.
        beside: classes that an episode needs besides.
        what: the episodes in words, if they are not `way`-way.
    """
    needed, there = way + beside, len(split.names)
    if needed > there:
        most = there - beside
        remedy = f"use --ways {most} or fewer" if most >= 2 else "use data with more classes"
        raise UsageError(f"{what or f'{way}-way'} needs {needed} classes but the split has {there}; {remedy}")


def need_images(split: ClassSplit, shot: int, query: int, classes: Sequence[int] | None = None) -> None:
    """Raise UsageError, naming class and remedy, if one of the classes has too few images."""
    among = np.arange(len(split.names)) if classes is None else np.asarray(classes)
    smallest = int(among[np.argmin(split.counts[among])])
    images = int(split.counts[smallest])
    if shot + query > images:
        largest = images - shot
        remedy = f"the largest legal --query is {largest}" if largest > 0 else fewer_shots(images - 1)
        raise UsageError(
            f"{shot} shot + {pluralise(query, 'query image')} are more than the {images} of class "
            f"'{split.names[smallest]}'; {remedy}"
        )


def fewer_shots(most: int) -> str:
    """Return the remedy for classes that have images for at most so many shots."""
    return f"use --shots {most} or fewer" if most > 0 else "use data with more images of a class"


def images_of(words: Words, classes: RowIndices, split: ClassSplit) -> RowIndices:
    """Return for each of the classes (B, way) as many of its images as it has words, (B, way, k), in random order.

    Args:
        words: (B, way * k) random words; how an image is chosen depends on those before it alone.

    The row is -1 where a class has fewer than k images.
    """
    return rows_of(words, classes, split.starts)


def rows_of(words: Words, classes: RowIndices, starts: NDArray[np.int64]) -> RowIndices:
    """Return the same as `images_of`, for classes that own the rows ``starts[c] .. starts[c+1]``."""
    within = choose_within(words.reshape(classes.size, -1), np.diff(starts)[classes.reshape(-1)])
    first = starts[classes].reshape(-1, 1)
    return np.where(within < 0, -1, first + within).reshape(*classes.shape, -1)


def choose_within(words: Words, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose without replacement from a population of its own for each row of words (rows, k); -1 where it ends."""
    kinds = np.unique(sizes)
    if len(kinds) == 1 and kinds[0] >= words.shape[1]:
        return choose(words, int(kinds[0]))
    chosen = np.full(words.shape, -1, dtype=np.int64)
    for size in kinds:
        mask, k = sizes == size, min(int(size), words.shape[1])
        part = np.full((int(mask.sum()), words.shape[1]), -1, dtype=np.int64)
        part[:, :k] = choose(words[mask][:, :k], int(size))
        chosen[mask] = part
    return chosen


def labels(way: int, repeat: int, episodes: int) -> NDArray[np.int64]:
    """Return the labels (episodes, way * repeat) of classes in order, `repeat` times each."""
    return np.tile(np.repeat(np.arange(way), repeat), (episodes, 1))
