"""The layouts in which people have mini-ImageNet: which files belong to which class, checked before any is opened."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from metabench.api import TABLE_BYTES, MetabenchError, MissingError, content_key, first_three, pluralise, read_bounded
from metabench_datasets._class_lists import ClassLists

SPLITS = ("train", "val", "test")
GET_CSV = "get the official train.csv, val.csv and test.csv of Ravi & Larochelle"
_SUFFIXES = (".jpg", ".jpeg", ".png")
_WNID = re.compile(r"n\d{8}")
"""A class of ImageNet, which the official file names begin with."""

Classes = list[tuple[str, list[Path]]]
"""The files of each class, both sorted by name."""


class Layout(ABC):
    """A copy of the data.

    Args:
        folder: that it is in.
        lists: the classes of each split.
        per_class: images of each class.
    """

    def __init__(self, folder: Path, lists: ClassLists, per_class: int) -> None:
        self.folder, self.lists, self.per_class = folder, lists, per_class

    @abstractmethod
    def mark(self) -> str:
        """Return a fingerprint of this copy without looking at single files: takes milliseconds.

        It changes with the lists, and when files are added, removed or renamed; not when one is overwritten in place.
        """

    @abstractmethod
    def classes(self, split: str) -> Classes:
        """Return the files of a split; MetabenchError or MissingError where they are not what they must be."""

    def _counted(self, classes: Classes, where: Path) -> Classes:
        wrong = [f"{name} has {len(files)}" for name, files in classes if len(files) != self.per_class]
        if wrong:
            raise MetabenchError(
                f"mini-imagenet: {where}: {pluralise(len(wrong), 'class')} {'has' if len(wrong) == 1 else 'have'} not "
                f"{self.per_class} images: {first_three(wrong)}; get the whole set again"
            )
        return classes


class CsvLayout(Layout):
    """``images/*.jpg`` and ``train.csv``, ``val.csv``, ``test.csv`` with columns filename and label."""

    @staticmethod
    def is_here(folder: Path) -> bool:
        """Return whether the folder has this layout."""
        return (folder / "images").is_dir() and any((folder / f"{split}.csv").is_file() for split in SPLITS)

    def mark(self) -> str:
        """Return a digest of the lists, and of when the folder of the images changed."""
        texts = [_bytes_of(self.folder / f"{split}.csv") for split in SPLITS]
        return content_key([*(hashlib.sha256(text).hexdigest() for text in texts), _changed(self.folder / "images")])

    def classes(self, split: str) -> Classes:
        """Return the files in the split's list, all present."""
        path = self.folder / f"{split}.csv"
        rows = self._rows(path)
        self._check_labels(path, split, {label for _, label in rows})
        present = set(os.listdir(self.folder / "images"))  # noqa: PTH208 - 60,000 names, no paths
        _refuse_missing([name for name, _ in rows if name not in present], len(rows), self.folder / "images", path.name)
        files: dict[str, set[str]] = defaultdict(set)
        for name, label in rows:
            files[label].add(name)
        images = self.folder / "images"
        listed = [(label, [images / name for name in sorted(files[label])]) for label in self.lists[split]]
        return self._counted(listed, path)

    @staticmethod
    def _rows(path: Path) -> list[tuple[str, str]]:
        """Return (file name, label) of every line."""
        if not path.is_file():
            raise MissingError(f"mini-imagenet: {path} is not there; {GET_CSV}")
        try:
            text = read_bounded(path, TABLE_BYTES).decode("utf-8-sig")  # spreadsheets put a mark in front
            header, *lines = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
        except (OSError, ValueError, csv.Error) as error:
            raise MetabenchError(f"mini-imagenet: {path} is not a readable CSV file ({error}); {GET_CSV}") from error
        if [word.strip() for word in header[:2]] != ["filename", "label"]:
            raise MetabenchError(f"mini-imagenet: {path} does not begin with the line filename,label; {GET_CSV}")
        for number, line in enumerate(lines, 2):
            if len(line) < 2 or Path(line[0]).name != line[0]:
                raise MetabenchError(
                    f"mini-imagenet: {path} line {number} is not a plain file name and a label; {GET_CSV}"
                )
            if (begun := _WNID.match(line[0])) and _WNID.match(line[1]) and begun[0] != line[1]:
                raise MetabenchError(
                    f"mini-imagenet: {path} line {number} gives {line[0]} the label {line[1]}, and its name another; "
                    f"{GET_CSV}"
                )
        return [(line[0], line[1]) for line in lines]

    def _check_labels(self, path: Path, split: str, labels: set[str]) -> None:
        """Refuse the lists of another split, such as that of Vinyals et al., or lists that were swapped."""
        wanted = set(self.lists[split])
        if labels == wanted:
            return
        owner = {label: other for other, names in self.lists.items() for label in names}
        strange = [f"{label} (of {owner[label]})" if label in owner else label for label in sorted(labels - wanted)]
        parts = [
            f"{len(names)} {what}: {first_three(names)}"
            for names, what in ((strange, "do not belong there"), (sorted(wanted - labels), "are missing"))
            if names
        ]
        raise MetabenchError(
            f"mini-imagenet: {path}: its {len(labels)} classes are not the {len(wanted)} of the {split} split of "
            f"Ravi & Larochelle; {'; '.join(parts)}; {GET_CSV}"
        )


class FolderLayout(Layout):
    """One folder per class, ``nXXXXXXXX/*.jpg``, below ``train``, ``val`` and ``test`` or all in one place."""

    @staticmethod
    def is_here(folder: Path, lists: ClassLists) -> bool:
        """Return whether the folder has this layout: at least one class is where it belongs."""
        return any(
            (place / label).is_dir()
            for split, labels in lists.items()
            for place in (folder / split, folder)
            for label in labels
        )

    def mark(self) -> str:
        """Return a digest of when each class folder changed."""
        labels = [(split, label) for split in SPLITS for label in self.lists[split]]
        return content_key([_changed(self._place(split, label)) for split, label in labels])

    def classes(self, split: str) -> Classes:
        """Return the files of the split's classes; what else is there is left alone."""
        places = {label: self._place(split, label) for label in self.lists[split]}
        absent = [label for label, place in places.items() if not place.is_dir()]
        if absent:
            raise MissingError(
                f"mini-imagenet: {self.folder}: {len(absent)} of the {len(places)} classes of {split} have no folder: "
                f"{first_three(absent)}; get the whole set again"
            )
        return self._counted([(label, _images(place)) for label, place in places.items()], self.folder)

    def _place(self, split: str, label: str) -> Path:
        below = self.folder / split
        return (below if below.is_dir() else self.folder) / label


def find_layout(sources: Iterable[Path], subfolders: Sequence[str], lists: ClassLists, per_class: int) -> Layout | None:
    """Return the first copy in the user's folders, or None."""
    for folder in (source / below for source in sources for below in subfolders if (source / below).is_dir()):
        if CsvLayout.is_here(folder):
            return CsvLayout(folder, lists, per_class)
        if FolderLayout.is_here(folder, lists):
            return FolderLayout(folder, lists, per_class)
    return None


def _images(folder: Path) -> list[Path]:
    names = sorted(entry.name for entry in os.scandir(folder))
    return [folder / name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(".")]


def _refuse_missing(missing: list[str], total: int, folder: Path, listed: str) -> None:
    if missing:
        raise MissingError(
            f"mini-imagenet: {len(missing)} of the {total} images in {listed} are missing from {folder}: "
            f"{first_three(missing)}; get the whole set again"
        )


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bounded(path, TABLE_BYTES)
    except OSError:
        return b""


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
