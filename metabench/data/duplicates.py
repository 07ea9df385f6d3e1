"""Images that a data set holds more than once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from metabench.data.types import ClassSplit, image_digest

Place = tuple[str, int]
"""Split and row."""


def duplicates(splits: Mapping[str, ClassSplit]) -> dict[str, list[Place]]:
    """Return the places of every image (by its `image_digest`) that is there more than once; reads all pixels."""
    places: dict[str, list[Place]] = defaultdict(list)
    for split, data in splits.items():
        for row, image in enumerate(data.images):
            places[image_digest(image)].append((split, row))
    return {digest: found for digest, found in places.items() if len(found) > 1}


def by_splits(found: Mapping[str, list[Place]]) -> dict[tuple[str, ...], list[str]]:
    """Return the digests of images by the splits that they are in, which is one where it holds all of them."""
    grouped: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for digest, places in found.items():
        grouped[tuple(dict.fromkeys(split for split, _ in places))].append(digest)
    return dict(grouped)
