"""Folders of a user's own images: class sub-folders with images in them, and what else lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from metabench.data.image_formats import ending_of, is_image, remedy_for
from metabench.data.resumable_array import first_three
from metabench.data.skipped_files import IRREGULAR, LINKED, SkippedFiles, is_hidden, kind_of_file
from metabench.errors import MissingError, UsageError
from metabench.utils.hashing import content_key
from metabench.utils.paths import is_file
from metabench.utils.text import has_or_have, pluralise

LAYOUT = "The images of each class belong into a sub-folder of its name"
INSIDE = "in folders inside class folders"
"""Reason for which images there are skipped."""
BESIDE = "beside the class folders"
TABLES = (".csv", ".tsv", ".json", ".txt", ".xlsx")
"""Endings of files that may say which image has which class."""


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
class ClassFiles:
    """The class sub-folders of a folder.

    Attributes:
        folder: that they are in.
        files: the images of each class, both in the order of their names.
        skipped: what else is there.
        small: how many classes are left out because they have few images, and the least number of images.
        table: that says which image has which class; None where sub-folders do.
    """

    folder: Path
    files: Mapping[str, Sequence[ImageFile]]
    skipped: SkippedFiles = field(default_factory=SkippedFiles)
    small: tuple[int, int] = (0, 0)
    table: Path | None = None

    @property
    def images(self) -> list[ImageFile]:
        """All images, class after class."""
        return [file for files in self.files.values() for file in files]

    def quick_digest(self) -> str:
        """Return what changes when a file is added, removed, renamed or written to; no file is opened."""
        seen = [
            [name, [(self.within(file), file.size, file.changed) for file in files]] for name, files in self.items()
        ]
        return content_key(ascii(seen))  # a name may hold bytes that are no text

    def within(self, file: ImageFile) -> str:
        """Return where an image lies in the folder."""
        return file.path.relative_to(self.folder).as_posix()

    def items(self) -> Iterable[tuple[str, Sequence[ImageFile]]]:
        """Return classes with their images."""
        return self.files.items()

    def without_small(self, least: int) -> ClassFiles:
        """Return the classes with at least so many images."""
        kept = {name: files for name, files in self.items() if len(files) >= least}
        return replace(self, files=kept, small=(len(self.files) - len(kept), least))


def visible(folder: Path, what: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder and not hidden, in the order of names.

    Raises:
        MissingError: it is not there or cannot be read; the message starts with "cannot read" and `what`.
        UsageError: it is a file.
    """
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not is_hidden(entry.name)]
    except FileNotFoundError:
        raise MissingError(f"cannot read {what}: folder {folder} not found") from None
    except NotADirectoryError:
        raise UsageError(f"cannot read {what}: {folder} is a file. {LAYOUT}: give the folder of these") from None
    except OSError as error:
        raise MissingError(
            f"cannot read {what}: {folder}: {error.strerror or error}. Give a folder that can be read"
        ) from None
    return sorted(shown, key=lambda entry: entry.name)


def read_classes(folder: Path, what: str) -> ClassFiles:
    """List the class sub-folders of a folder and their images; nothing is opened.

    Raises:
        MissingError, UsageError: the folder cannot be read or has no sub-folders; messages name `what`.
    """
    skipped = SkippedFiles(folder)
    files: dict[str, list[ImageFile]] = {}
    entries = visible(folder, what)
    for entry in entries:
        if entry.is_dir():
            files[_label(entry, files)] = _images(Path(entry.path), what, skipped)
        else:
            skipped.add(BESIDE, entry.path)
    if not files:
        here = sum(is_image(entry.name) for entry in entries)
        lying = f" ({pluralise(here, 'image')} {'lies' if here == 1 else 'lie'} in it directly)" if here else ""
        raise UsageError(f"cannot read {what}: {folder} has no sub-folders{lying}. {LAYOUT}{_unread_table(skipped)}")
    return ClassFiles(folder, files, skipped)


def require_images(classes: ClassFiles, what: str, option: str = "") -> None:
    """Refuse classes without images and fewer than two classes, with what was skipped and what helps.

    Args:
        classes: as `read_classes` returned them.
        what: for the message.
        option: one that leaves classes without images out.

    Raises:
        UsageError: as said.
    """
    empty = [name for name, files in classes.items() if not files]
    if empty:
        with_others = classes.skipped.sub_folders()
        first = next((name for name in empty if name in with_others), empty[0])
        others = len(empty) - 1  # whose reasons may be others
        more = f"; {pluralise(others, 'other class')} {has_or_have(others)} none either"
        cause, remedy = _why_empty(classes, first, option)
        raise UsageError(f"cannot read {what}: class '{first}' has no images{cause}{more if others else ''}. {remedy}")
    small, least = classes.small
    if len(classes.files) < 2 and small:
        raise UsageError(
            f"cannot read {what}: {pluralise(small, 'class')} {has_or_have(small)} fewer than "
            f"min_images={least} images, which leaves {len(classes.files) or 'none'}, and at least two classes are "
            "needed. Lower min_images, or add images"
        )
    if len(classes.files) < 2:
        only = f"only one class, '{next(iter(classes.files))}'" if classes.files else "no class"
        raise UsageError(
            f"cannot read {what}: {classes.table or classes.folder} has {only}, and at least two are needed. "
            + (f"{LAYOUT}{_unread_table(classes.skipped)}" if classes.table is None else "Add rows of another class")
        )


def _why_empty(classes: ClassFiles, name: str, option: str) -> tuple[str, str]:
    """Return what lies in a class folder without images, and what to do."""
    skipped, folder = classes.skipped.below(name), classes.folder
    leave = f", or leave such classes out with {option}" if option else ""
    if inside := skipped.files.get(INSIDE):
        cause = f" at this level, but {len(inside)} in folders inside, such as {inside[0]}"
        places = {Path(file).parent for file in inside}
        if len(places) == 1:  # one folder between, as in class/images/
            return cause, f"Move the images from {folder / places.pop()} up into {folder / name}"
        above = folder / os.path.commonpath(places)
        return cause, f"If the inner folders are the classes, give the folder {above}"
    if skipped:
        cause, remedy = why_none(skipped)
        return cause, remedy + leave
    return "", f"Put some into {folder / name}{leave}"


def why_none(skipped: SkippedFiles) -> tuple[str, str]:
    """Return what lies where no image can be read, and what makes it readable; skipped files must be there."""
    fixes = sorted({remedy for reason in skipped.files if (remedy := remedy_for(reason))})
    remedy = f"Run '{' and '.join(fixes)}' to read them" if fixes else "Convert them to PNG, JPEG or TIFF"
    return f" that can be read, but {skipped.counts}", remedy


def _unread_table(skipped: SkippedFiles) -> str:
    """Return a sentence that a table of labels is not read, where one seems to be there."""
    tables = [Path(name).name for name in skipped.files.get(BESIDE, ()) if ending_of(name) in TABLES]
    return (
        f", or name it in a table labels.csv with the columns filename,label (not {first_three(tables)})"
        if tables
        else ""
    )


def _label(entry: os.DirEntry[str], taken: Mapping[str, object]) -> str:
    """Return the name of a class as text that can be printed, whatever bytes the folder's name has."""
    label = os.fsencode(entry.name).decode("utf-8", "replace")
    while label in taken:
        label += "_"
    return label


def _images(folder: Path, what: str, skipped: SkippedFiles) -> list[ImageFile]:
    """Return the images in a class folder, and note what else is in it."""
    images = []
    for entry in visible(folder, what):
        if entry.is_dir():
            skipped.add_folder(Path(entry.path), INSIDE)
        elif not is_image(entry.name):
            skipped.add(kind_of_file(entry.name), entry.path)
        elif (file := _file(entry)) is None:
            skipped.add(IRREGULAR, entry.path)
        else:
            images.append(file)
    return images


def images_below(paths: Sequence[Path], what: str) -> tuple[list[ImageFile], SkippedFiles]:
    """Return the images that are named or lie anywhere below named folders, and the other files there.

    Raises:
        MissingError: one is not there or cannot be read; the message names `what`.
        UsageError: a file that is named is no image.
    """
    images: dict[Path, ImageFile] = {}
    skipped = SkippedFiles()
    for path in paths:
        if is_file(path):
            if not is_image(path.name):
                kind = kind_of_file(path.name)
                raise UsageError(f"cannot read {what}: {path} is not an image of a kind that is read: {kind}")
            status = path.stat()
            images[path] = ImageFile(path, status.st_size, status.st_mtime_ns)
            continue
        for entry in _below(path, what):
            if entry.is_dir():
                skipped.add(LINKED, entry.path)
            elif not is_image(entry.name):
                skipped.add(kind_of_file(entry.name), entry.path)
            elif (file := _file(entry)) is None:
                skipped.add(IRREGULAR, entry.path)
            else:
                images[file.path] = file
    return sorted(images.values(), key=lambda file: file.path.parts), skipped


def _below(folder: Path, what: str) -> Iterator[os.DirEntry[str]]:
    for entry in visible(folder, what):
        if entry.is_dir(follow_symlinks=False):  # a link to a folder may lead in circles
            yield from _below(Path(entry.path), what)
        else:
            yield entry


def _file(entry: os.DirEntry[str]) -> ImageFile | None:
    """Return a file, None for a pipe or device, whose reading would never end."""
    try:
        status = entry.stat()
    except OSError:  # a link to nothing: decoding will say so
        return ImageFile(Path(entry.path), 0, 0)
    return ImageFile(Path(entry.path), status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
