"""Folders of a user's own images: class sub-folders, and images anywhere below."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metabench.data.decode import is_image
from metabench.errors import MissingError, UsageError
from metabench.keys import content_key

LAYOUT = "images belong into one sub-folder per class"


@dataclass(frozen=True)
class ImageFile:
    """A file as the folder lists it.

    Attributes:
        path: where it is.
        size: in bytes.
        changed: when it was last changed, in nanoseconds.
    """

    path: Path
    size: int
    changed: int


@dataclass(frozen=True)
class Classes:
    """The class sub-folders of a folder.

    Attributes:
        folder: that they are in.
        files: the images of each class, both in the order of their names.
        ignored: what is there besides, in words, with how often.
    """

    folder: Path
    files: Mapping[str, Sequence[ImageFile]]
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def images(self) -> list[ImageFile]:
        """All images, class after class."""
        return [file for files in self.files.values() for file in files]

    @property
    def note(self) -> str:
        """What was ignored, one line; '' where nothing was."""
        if not self.ignored:
            return ""
        return f"{self.folder}: ignored {', '.join(f'{count} {what}' for what, count in sorted(self.ignored.items()))}"

    def quick_digest(self) -> str:
        """Return what changes when a file is added, removed, renamed or written to; no file is opened."""
        seen = [[name, [(file.path.name, file.size, file.changed) for file in files]] for name, files in self.items()]
        return content_key(ascii(seen))  # a name may hold bytes that are no text

    def items(self) -> Iterable[tuple[str, Sequence[ImageFile]]]:
        """Return classes with their images."""
        return self.files.items()

    def without_small(self, least: int) -> Classes:
        """Return the classes with at least so many images."""
        kept = {name: files for name, files in self.items() if len(files) >= least}
        small = Counter({f"classes of fewer than {least} images": len(self.files) - len(kept)} if least else {})
        return Classes(self.folder, kept, self.ignored + small)


def visible(folder: Path, what: str) -> tuple[list[os.DirEntry[str]], int]:
    """Return what is in a folder in the order of names, and how many hidden things there are besides.

    Raises:
        MissingError: it is not there or cannot be read; the message starts with `what`.
        UsageError: it is a file.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise MissingError(f"{what}: there is no folder {folder}") from None
    except NotADirectoryError:
        raise UsageError(f"{what}: {folder} is a file; {LAYOUT}: give the folder that these are in") from None
    except OSError as error:
        raise MissingError(f"{what}: the folder {folder} cannot be read ({error.strerror or error})") from None
    shown = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    return shown, len(entries) - len(shown)


def read_classes(folder: Path, what: str) -> Classes:
    """List the class sub-folders of a folder and their images; nothing is opened.

    Raises:
        MissingError, UsageError: the folder cannot be read or has no sub-folders; messages start with `what`.
    """
    entries, hidden = visible(folder, what)
    ignored = Counter({"hidden": hidden})
    files: dict[str, list[ImageFile]] = {}
    for entry in entries:
        if entry.is_dir():
            files[_label(entry, files)] = _images(Path(entry.path), what, ignored)
        else:
            ignored["beside the class folders"] += 1
    if not files:
        here = sum(is_image(entry.name) for entry in entries)
        lying = f" ({here} images lie in it directly)" if here else ""
        raise UsageError(f"{what}: {folder} has no sub-folders{lying}; {LAYOUT}")
    return Classes(folder, files, +ignored)


def _label(entry: os.DirEntry[str], taken: Mapping[str, object]) -> str:
    """Return the name of a class as text that can be printed, whatever bytes the folder's name has."""
    label = os.fsencode(entry.name).decode("utf-8", "replace")
    while label in taken:
        label += "_"
    return label


def _images(folder: Path, what: str, ignored: Counter[str]) -> list[ImageFile]:
    entries, hidden = visible(folder, what)
    ignored["hidden"] += hidden
    found = []
    for entry in entries:
        if entry.is_dir():
            ignored["folders inside class folders"] += 1
        elif not is_image(entry.name):
            ignored[f"files that are no images ({Path(entry.name).suffix.lower() or 'no ending'})"] += 1
        else:
            found.append(_file(entry))
    return found


def images_below(paths: Sequence[Path], what: str) -> tuple[list[ImageFile], int]:
    """Return the images that are named or lie anywhere below named folders, and how many other files there are.

    Raises:
        MissingError: one is not there or cannot be read; the message starts with `what`.
        UsageError: a file that is named is no image.
    """
    found: dict[Path, ImageFile] = {}
    others = 0
    for path in paths:
        if path.is_file():
            if not is_image(path.name):
                raise UsageError(f"{what}: {path} is no image file by its name")
            status = path.stat()
            found[path] = ImageFile(path, status.st_size, status.st_mtime_ns)
            continue
        for entry in _below(path, what):
            if is_image(entry.name):
                found[Path(entry.path)] = _file(entry)
            else:
                others += 1
    return sorted(found.values(), key=lambda file: file.path.parts), others


def _below(folder: Path, what: str) -> Iterator[os.DirEntry[str]]:
    for entry in visible(folder, what)[0]:
        if entry.is_dir(follow_symlinks=False):  # a link to a folder may lead in circles
            yield from _below(Path(entry.path), what)
        elif entry.is_file():
            yield entry


def _file(entry: os.DirEntry[str]) -> ImageFile:
    try:
        status = entry.stat()
    except OSError:  # a link to nothing: decoding will say so
        return ImageFile(Path(entry.path), 0, 0)
    return ImageFile(Path(entry.path), status.st_size, status.st_mtime_ns)
