"""Content of the CUB-200-2011 archive, its split, and the framing of its images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from metabench.api import ArchiveReader, MetabenchError, first_three, pluralise
from metabench_datasets._class_lists import ClassLists, class_lists

if TYPE_CHECKING:
    from PIL.Image import Image

FRAMES = ("whole", "box", "centre")
ROOT = "CUB_200_2011"
_REMEDY = "get the official archive again"
_MARGIN = 1.15

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels, from the upper left corner."""


@dataclass(frozen=True)
class Layout:
    """The classes of each split and the number of all images; tests use a small one."""

    lists: ClassLists
    images: int


@cache
def official_layout() -> Layout:
    """Return the layout of the published data."""
    return Layout(class_lists("cub"), 11_788)


@dataclass(frozen=True)
class Listing:
    """Content of the text files of the archive.

    Attributes:
        files: the paths of each class's images, as members of the archive, both in the order of names.
        boxes: the bounding box of each path.
    """

    files: Mapping[str, list[str]]
    boxes: Mapping[str, Box]


def read_listing(archive: ArchiveReader, layout: Layout) -> Listing:
    """Return what ``images.txt`` and ``bounding_boxes.txt`` say, checked against the published split.

    Raises:
        MetabenchError: a list is missing or damaged, or its classes or number of images are not the published ones.
    """
    paths = dict(_lines(archive, "images.txt", 1))
    names = {number: f"{ROOT}/images/{path[0]}" for number, path in paths.items()}
    boxes = {}
    for number, values in _lines(archive, "bounding_boxes.txt", 4):
        try:
            x, y, width, height = map(float, values)
        except ValueError:
            raise _wrong(archive, "bounding_boxes.txt", f"has no numbers for image {number}") from None
        if number in names and width > 0 and height > 0:
            boxes[names[number]] = (x, y, width, height)
    files = defaultdict(list)
    for name in sorted(names.values()):
        files[PurePosixPath(name).parent.name].append(name)
    known = {label for labels in layout.lists.values() for label in labels}
    if set(files) != known or len(names) != layout.images:
        odd = sorted(known ^ set(files))
        detail = f": {first_three(odd)} differ" if odd else ""
        raise _wrong(
            archive,
            "images.txt",
            f"lists {len(names)} images of {len(files)} classes, not {layout.images} of {len(known)}{detail}",
        )
    if absent := sorted(set(names.values()) - set(archive.names())):
        raise _wrong(
            archive, "images", f"lacks {len(absent)} of the {len(names)} images in images.txt: {first_three(absent)}"
        )
    if lacking := sorted(set(names.values()) - set(boxes)):
        raise _wrong(
            archive, "bounding_boxes.txt", f"has no box for {pluralise(len(lacking), 'image')}: {first_three(lacking)}"
        )
    return Listing(files, boxes)


def _lines(archive: ArchiveReader, name: str, fields: int) -> list[tuple[str, list[str]]]:
    """Return image number and fields of every line of a list."""
    try:
        lines = [line.split() for line in archive.read(f"{ROOT}/{name}").decode("utf-8").splitlines()]
    except UnicodeDecodeError:
        raise _wrong(archive, name, "is no text") from None
    if any(len(words) != fields + 1 for words in lines):
        raise _wrong(archive, name, f"has a line without {fields + 1} fields")
    return [(words[0], words[1:]) for words in lines]


def _wrong(archive: ArchiveReader, name: str, what: str) -> MetabenchError:
    return MetabenchError(f"{archive.path}: {ROOT}/{name} {what}; {_REMEDY}")


def framed(image: Image, frame: str, box: Box, size: int) -> Image:
    """Return an image, its bounding box, or its centre at ``(size, size)``, bilinear; its aspect is not kept."""
    if frame == "box":
        x, y, width, height = box
        right, lower = min(image.width, round(x + width)), min(image.height, round(y + height))
        image = image.crop((min(round(x), right - 1), min(round(y), lower - 1), right, lower))
    inner = int(size * _MARGIN) if frame == "centre" else size
    scaled = image.resize((inner, inner), resample=_bilinear())
    edge = (inner - size) // 2
    return scaled.crop((edge, edge, edge + size, edge + size)) if edge else scaled


@cache
def _bilinear() -> int:
    from PIL import Image  # here, because this module is imported to list the datasets

    return Image.Resampling.BILINEAR
