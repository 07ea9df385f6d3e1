"""The table of labels in a folder of images: a ``labels.csv`` whose rows name a file, its class and maybe its split."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench.data.image_folders import ClassFiles, ImageFile, images_below, read_classes, visible
from metabench.data.image_formats import is_image
from metabench.data.resumable_array import first_three
from metabench.data.skipped_files import SkippedFiles, kind_of_file
from metabench.data.split_folders import NAMES, read_splits, split_of
from metabench.errors import MissingError, UsageError
from metabench.utils.bounded_files import TABLE_BYTES, read_bounded
from metabench.utils.text import pluralise

TABLE = "labels.csv"
"""Its name, in any case of letters."""
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("filename", "path", "file", "image", "filepath", "imagepath", "imagefile", "imagename"),
    "label": ("label", "class", "classname", "category"),
    "split": ("split", "set", "subset"),
}
"""Usual names of its columns, in any case of letters, with or without ``_``, ``-`` and blanks."""
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class LabelRow:
    """A line of a table.

    Attributes:
        line: its number in the file, from 1.
        path: of the file, as it is written.
        label: the class.
        split: one of `NAMES`.
    """

    line: int
    path: str
    label: str
    split: str


@dataclass(frozen=True)
class LabelTable:
    """A table of labels.

    Attributes:
        path: of the table.
        rows: its lines.
        has_splits: whether a column names splits; ``test`` is the split of all rows where none does.
    """

    path: Path
    rows: Sequence[LabelRow]
    has_splits: bool

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that its rows name, in the order of `NAMES`."""
        named = {row.split for row in self.rows}
        return tuple(split for split in NAMES if split in named)


@dataclass(frozen=True)
class Layout:
    """Splits and classes of a folder.

    Attributes:
        splits: the classes of each split.
        skipped: every file that is not read, with names relative to the folder.
    """

    splits: Mapping[str, ClassFiles]
    skipped: SkippedFiles


def read_layout(root: Path, what: str) -> Layout:
    """List splits and classes of a folder by its table of labels, or by its sub-folders where it has none.

    Raises:
        MissingError, UsageError: the folder cannot be read, or is laid out in another way; messages name `what`.
    """
    if table := find_table(root, what):
        return _layout_of(table, what)
    folders = read_splits(root, what)
    every = {split: read_labelled(place, what) for split, place in folders.places.items()}
    return Layout(every, folders.skipped.joined((classes.skipped for classes in every.values()), root))


def read_split_names(root: Path, what: str) -> tuple[str, ...]:
    """Return the splits that `read_layout` lists, without looking at their files."""
    table = find_table(root, what)
    return table.splits if table else tuple(read_splits(root, what).places)


def read_labelled(folder: Path, what: str) -> ClassFiles:
    """List the classes of a folder that is not divided into splits, as `read_layout`.

    Raises:
        MissingError, UsageError: as there, or its table names splits.
    """
    table = find_table(folder, what)
    if table is None:
        return read_classes(folder, what)
    if table.has_splits:
        raise UsageError(
            f"cannot read {what}: {table.path} names splits, and all of {folder} is to be read. Remove that column"
        )
    layout = _layout_of(table, what)
    return layout.splits["test"]


def find_table(folder: Path, what: str) -> LabelTable | None:
    """Return the table of labels in a folder, None where there is no such file.

    A table of something else beside class folders is none either.

    Raises:
        MissingError, UsageError: the folder or the table cannot be read, or a row is not sound; messages name `what`.
    """
    entries = visible(folder, what)
    tables = [Path(entry.path) for entry in entries if entry.name.lower() == TABLE and entry.is_file()]
    if len(tables) > 1:
        raise UsageError(f"cannot read {what}: {tables[0].name} and {tables[1].name} are both there. Remove one")
    if not tables:
        return None
    lines = _lines(tables[0], what)
    columns = _columns(lines[0][1])
    if not {"path", "label"} <= columns.keys():
        if sum(entry.is_dir() for entry in entries) > 1:
            return None
        raise UsageError(
            f"cannot read {what}: the first line of {tables[0]} names no column of {_absent(columns)}. "
            "Begin it with the names of the columns, as in filename,label"
        )
    twice = next((name for name, places in columns.items() if len(places) > 1), "")
    if twice:
        titles = " and ".join(repr(lines[0][1][place]) for place in columns[twice][:2])
        raise UsageError(f"cannot read {what}: {tables[0]} has two columns of {twice}s, {titles}. Rename one")
    place = {name: places[0] for name, places in columns.items()}
    rows = [_row(tables[0], line, fields, lines[0][1], place, what) for line, fields in lines[1:]]
    if not rows:
        raise UsageError(f"cannot read {what}: {tables[0]} has no rows. Add one for each image")
    return LabelTable(tables[0], rows, "split" in place)


def _lines(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Return the fields of each line that is not blank, with its number; the first has the names of the columns."""
    try:
        text = read_bounded(path, TABLE_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise MissingError(f"cannot read {what}: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {what}: {path} is not UTF-8. Save it as CSV in UTF-8") from None
    first = next(filter(None, map(str.strip, text.splitlines())), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=first.count), strict=True)
    lines = []
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                lines.append((reader.line_num, [field.strip() for field in fields]))
    except csv.Error as error:
        raise UsageError(f"cannot read {what}: {path}, line {reader.line_num}: {error}. Mend the quotes") from None
    return lines or [(1, [])]


def _columns(header: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of the columns of each kind of `COLUMN_NAMES` that is there."""
    plain = [title.lower().replace("_", "").replace("-", "").replace(" ", "") for title in header]
    columns = {kind: [i for i, title in enumerate(plain) if title in titles] for kind, titles in COLUMN_NAMES.items()}
    return {kind: places for kind, places in columns.items() if places}


def _absent(columns: Iterable[str]) -> str:
    absent = [kind for kind in ("path", "label") if kind not in columns]
    return " and none of ".join(f"{kind}s (such as {' or '.join(COLUMN_NAMES[kind][:2])})" for kind in absent)


def _row(
    table: Path, line: int, fields: Sequence[str], header: Sequence[str], place: Mapping[str, int], what: str
) -> LabelRow:
    where = f"cannot read {what}: {table}, line {line}"
    if len(fields) != len(header):
        raise UsageError(
            f"{where} has {pluralise(len(fields), 'field')}, and the first line {len(header)}. "
            "Put fields that hold a comma into quotes"
        )
    values = {name: fields[index] for name, index in place.items()}
    for name, value in values.items():
        if not value:
            raise UsageError(f"{where} has no {name}. Fill it in, or remove the line")
    split = split_of(values["split"]) if "split" in values else "test"
    if not split:
        raise UsageError(f"{where} names the split {values['split']!r}. Use {', '.join(NAMES)}")
    return LabelRow(line, values["path"], " ".join(values["label"].split()), split)


def _layout_of(table: LabelTable, what: str) -> Layout:
    """List the files that a table names, and those in its folder that it does not name."""
    root = table.path.parent
    if "test" not in table.splits:
        have = " and ".join(table.splits)
        raise UsageError(
            f"cannot read {what}: {table.path} has rows of {have} but none of test, whose classes are measured. "
            "Add some"
        )
    images, others = images_below([root], what)
    files = _files(table, {image.path: image for image in images}, what)
    skipped = SkippedFiles(root)
    for reason, names in others.files.items():
        for name in names:
            if Path(name) != table.path:
                skipped.add(reason, name)
    named = set(files.values())
    for image in images:
        if image not in named:
            skipped.add(f"in no row of {table.path.name}", image.path)
    parts: dict[str, dict[str, list[ImageFile]]] = defaultdict(lambda: defaultdict(list))
    for row, file in files.items():
        parts[row.split][row.label].append(file)
    splits = {}
    for split in table.splits:
        classes = {
            label: sorted(parts[split][label], key=lambda file: file.path.parts) for label in sorted(parts[split])
        }
        splits[split] = ClassFiles(root, classes, skipped, table=table.path)
    return Layout(splits, skipped)


def _files(table: LabelTable, listed: Mapping[Path, ImageFile], what: str) -> dict[LabelRow, ImageFile]:
    """Return the file of each row.

    Raises:
        MissingError: some are not there. UsageError: some lie elsewhere, are no images, or are in two rows.
    """
    root = table.path.parent
    files: dict[LabelRow, ImageFile] = {}
    rows_of: dict[Path, LabelRow] = {}
    wrong: dict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        path = _place(root, row.path)
        location = f"{row.path} (line {row.line})"
        if not path.is_relative_to(root):
            wrong["outside"].append(location)
        elif path in rows_of:
            wrong["twice"].append(f"{row.path} (lines {rows_of[path].line} and {row.line})")
        elif path not in listed and not path.is_file():  # a hidden file, or one in a linked folder, is not listed
            wrong["absent"].append(location)
        elif not is_image(path.name):
            wrong["other"].append(f"{row.path} ({kind_of_file(path.name)})")
        else:
            rows_of[path] = row
            files[row] = listed[path] if path in listed else _seen(path)
    _refuse(wrong, table, what)
    return files


def _place(root: Path, written: str) -> Path:
    """Return where a file is that a row names, also where Windows wrote its folders with backslashes."""
    path, other = (Path(os.path.normpath(root / text)) for text in (written, written.replace("\\", "/")))
    return other if other != path and not path.exists() else path


def _seen(path: Path) -> ImageFile:
    status = path.stat()
    return ImageFile(path, status.st_size, status.st_mtime_ns)


def _refuse(wrong: Mapping[str, Sequence[str]], table: LabelTable, what: str) -> None:
    """Raise the error for the first kind of wrong rows, where there are some."""
    texts = {
        "outside": (UsageError, f"outside of {table.path.parent}", "Give paths relative to that folder"),
        "absent": (MissingError, f"not in {table.path.parent}", "Put them there, or remove their lines"),
        "other": (UsageError, "no images of a kind that is read", "Convert them to PNG, or remove their lines"),
        "twice": (UsageError, "named twice", "Remove one of the lines"),
    }
    for kind, (error, text, remedy) in texts.items():
        if rows := wrong.get(kind):
            subject = f"{len(rows)} of {len(table.rows)} files that {table.path.name} names are"
            raise error(f"cannot read {what}: {subject} {text}: {first_three(rows)}. {remedy}")
