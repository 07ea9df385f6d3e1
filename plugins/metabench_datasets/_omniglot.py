"""Content of the Omniglot archives, their splits, and reading and verifying one alphabet."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from metabench.api import ArchiveReader, MetabenchError

DRAWINGS = 20
SIDE = 105
VALIDATION_ALPHABETS = 5


@dataclass(frozen=True)
class Alphabet:
    """One alphabet: the archive it is in, how many characters it has, and its `pixel_digest`."""

    archive: str
    name: str
    characters: int
    sha256: str


@dataclass(frozen=True)
class Run:
    """Consecutive characters ``first .. last`` (from 1, both included) of an alphabet."""

    alphabet: str
    first: int
    last: int

    def __len__(self) -> int:
        """Return the number of characters."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Layout:
    """Content of the archives and its splits; tests use a small one."""

    alphabets: Mapping[str, Alphabet]
    vinyals: Mapping[str, tuple[Run, ...]]

    def background(self) -> dict[str, tuple[Run, ...]]:
        """Return the authors' own split: the background set trains, the evaluation set tests.

        They name no validation set; here it is the last five background alphabets by name.
        """
        whole: dict[str, list[Run]] = {"images_background": [], "images_evaluation": []}
        for alphabet in sorted(self.alphabets.values(), key=lambda a: a.name):
            whole[alphabet.archive].append(Run(alphabet.name, 1, alphabet.characters))
        known = tuple(whole["images_background"])
        return {
            "train": known[:-VALIDATION_ALPHABETS],
            "val": known[-VALIDATION_ALPHABETS:],
            "test": tuple(whole["images_evaluation"]),
        }


@cache
def official_layout() -> Layout:
    """Return the layout of the published data, from the lists in this package."""
    folder = resources.files("metabench_datasets") / "data"
    alphabets = {}
    for archive, name, characters, sha256 in _rows((folder / "omniglot_alphabets.txt").read_text("utf-8")):
        alphabets[name] = Alphabet(archive, name, int(characters), sha256)
    vinyals: dict[str, list[Run]] = {"train": [], "val": [], "test": []}
    for split, name, first, last in _rows((folder / "omniglot_vinyals.txt").read_text("utf-8")):
        vinyals[split].append(Run(name, int(first), int(last)))
    return Layout(alphabets, {split: tuple(runs) for split, runs in vinyals.items()})


def _rows(text: str) -> Iterator[list[str]]:
    return (line.split() for line in text.splitlines() if line and not line.startswith("#"))


def read_alphabet(archive: ArchiveReader, alphabet: Alphabet) -> NDArray[np.uint8]:
    """Return an alphabet's drawings, uint8 (characters, 20, 105, 105) with ink 255, and verify them.

    Raises:
        MetabenchError: files are missing or no images, or the pixels are not the published ones.
    """
    drawings = np.empty((alphabet.characters, DRAWINGS, SIDE, SIDE), np.uint8)
    top = f"{alphabet.archive}/{alphabet.name}/"
    names = [name for name in archive.names() if name.startswith(top) and name.endswith(".png")]
    for number in range(1, alphabet.characters + 1):
        folder = f"{top}character{number:02}/"
        files = [name for name in names if name.startswith(folder)]
        if len(files) != DRAWINGS:
            raise MetabenchError(
                f"{archive.path}: {folder} has {len(files)} drawings instead of {DRAWINGS}; get the official file again"
            )
        for index, name in enumerate(files):
            drawings[number - 1, index] = read_drawing(archive, name)
    actual = pixel_digest(drawings)
    if actual != alphabet.sha256:
        raise MetabenchError(
            f"{archive.path}: {alphabet.name} has other pixels than published (digest {actual[:12]}, "
            f"expected {alphabet.sha256[:12]}); get the official file again"
        )
    return drawings


def pixel_digest(drawings: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of drawings packed to one bit per pixel (ink = 1)."""
    return hashlib.sha256(np.packbits(drawings > 127).tobytes()).hexdigest()


def read_drawing(archive: ArchiveReader, name: str) -> NDArray[np.uint8]:
    """Return one drawing, uint8 (105, 105), ink 255."""
    from PIL import Image  # here, because this module is imported to list the datasets

    data = archive.read(name)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            # The size comes first: it is known before anything is unpacked.
            if image.size == (SIDE, SIDE):
                return 255 - np.asarray(image.convert("L"))
            wrong = f"is {image.width}x{image.height} instead of {SIDE}x{SIDE}"
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reports broken PNGs in all these ways
        raise MetabenchError(f"{archive.path}: {name} is not a readable PNG; get the official file again") from error
    raise MetabenchError(f"{archive.path}: {name} {wrong}; get the official file again")
