"""Files in a folder of images that are not read, with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench.data.image_formats import ending_of, is_image, remedy_for

LINKED, IRREGULAR = "linked folders", "no regular files"
_NO_ENDING = "without an ending"


@dataclass(frozen=True)
class UnreadFiles:
    """Files of a dataset that are not read for one reason.

    Attributes:
        split: that they are in, ``-`` for the whole dataset.
        status: ``skipped``, by their names and places; ``unreadable``, by what is in them.
        reason: in words.
        files: their names.
    """

    split: str
    status: str
    reason: str
    files: tuple[str, ...]

    @property
    def detail(self) -> str:
        """The reason, with what helps or an example."""
        if self.status != "skipped":
            return self.reason
        kind = "of kind " if self.reason.startswith(".") else ""
        return f"{kind}{self.reason}{_hint(self.reason, self.files)}"


class SkippedFiles:
    """Files that are not read, by the reason.

    Args:
        folder: that names are relative to; None keeps them as they are.

    Attributes:
        files: names of the files, by the reason.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.files: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))

    def add(self, reason: str, path: str | Path) -> None:
        """Note a file."""
        name = path if self.folder is None else os.path.relpath(path, self.folder)
        self.files.setdefault(reason, []).append(Path(name).as_posix())

    def add_folder(self, folder: Path, reason: str) -> None:
        """Note every visible file below a folder: an image with `reason`, another by its kind.

        A link to a folder, which may lead in circles, counts as one file.
        """
        if folder.is_symlink():
            self.add(LINKED, folder)
            return
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            for name in sorted(names):
                if not is_hidden(name):
                    self.add(reason if is_image(name) else kind_of_file(name), Path(place, name))

    def below(self, folder: str) -> SkippedFiles:
        """Return those in one sub-folder."""
        part = SkippedFiles(self.folder)
        for reason, names in self.files.items():
            if inside := [name for name in names if name.startswith(f"{folder}/")]:
                part.files[reason] = inside
        return part

    def joined(self, others: Iterable[SkippedFiles], folder: Path) -> SkippedFiles:
        """Return these and others, with names relative to a folder above them all."""
        whole = SkippedFiles(folder)
        for part in (self, *others):
            for reason, names in part.files.items():
                for name in names:
                    whole.add(reason, name if part.folder is None else part.folder / name)
        return whole

    def sub_folders(self) -> set[str]:
        """Return the names of the sub-folders that hold some."""
        return {name.partition("/")[0] for names in self.files.values() for name in names if "/" in name}

    @property
    def counts(self) -> str:
        """Number of files for each reason: ``3 .txt, 2 beside the class folders``."""
        return ", ".join(_numbered(reason, names) for reason, names in sorted(self.files.items()))

    @property
    def text(self) -> str:
        """`counts`, with a file as an example, or with what reads files of a kind."""
        return ", ".join(
            _numbered(reason, names) + _hint(reason, names) for reason, names in sorted(self.files.items())
        )

    @property
    def note(self) -> str:
        """`text` as a sentence without its subject, '' where nothing was skipped."""
        return f"skipped {len(self)} file{'s' if len(self) > 1 else ''}: {self.text}" if self.files else ""


def is_hidden(name: str) -> bool:
    """Return whether the name is one that systems give to files of their own."""
    return name.startswith((".", "__MACOSX"))


def _numbered(reason: str, names: Sequence[str]) -> str:
    one = len(names) == 1 and reason in (LINKED, IRREGULAR)
    return f"{len(names)} {reason.removesuffix('s') if one else reason}"


def _hint(reason: str, names: Sequence[str]) -> str:
    if reason.startswith("."):
        return f" ('{remedy}' reads them)" if (remedy := remedy_for(reason)) else ""
    return f" (such as {names[0]})"


def kind_of_file(name: str) -> str:
    """Return the reason for which a file that is no image is skipped: its ending."""
    return ending_of(name) or _NO_ENDING
