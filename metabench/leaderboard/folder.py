"""The folder of a leaderboard: add records, build its pages, find stale ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import MetabenchError, UsageError
from metabench.leaderboard.board import Board, boards
from metabench.leaderboard.csv_page import board_csv
from metabench.leaderboard.curated import Invalidated, Overlap, read_invalidated, read_overlaps
from metabench.leaderboard.entries import Entry, admit, file_name
from metabench.leaderboard.html_page import html_page
from metabench.leaderboard.markdown_page import MARKER, board_markdown, index_markdown
from metabench.leaderboard.published import Published, read_published
from metabench.records.checks import RecordError, check_record
from metabench.records.record import read_record, write_record
from metabench.records.schema import Record
from metabench.utils.atomic_files import write_atomic
from metabench.utils.bounded_files import TABLE_BYTES, read_bounded

HTML_PAGE = "index.html"


@dataclass(frozen=True)
class Contents:
    """Everything that a leaderboard is made from."""

    entries: Sequence[Entry]
    claims: Sequence[Published]
    invalidated: Mapping[str, Invalidated]
    overlaps: Sequence[Overlap]

    def boards(self) -> list[Board]:
        """Return a board for each dataset, with rows and ranks."""
        return boards(self.entries, self.claims, self.invalidated, self.overlaps)


class Leaderboard:
    """Records, curated files and generated pages in one folder.

    Args:
        folder: holds ``records/*.json``, ``published.csv``, ``invalidated.toml`` and ``contamination.toml``
            (each may be missing); the pages are written beside them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, records: Sequence[Record]) -> list[Path]:
        """Copy records into the folder, all or none, and return their paths.

        A record that is there already with the same scores is left as it is.

        Raises:
            MetabenchError: a record is not valid, may not stand here, or contradicts one that does.
        """
        targets = []
        for record in records:
            check_record(record)
            admit(record)
            target = self.folder / "records" / file_name(record)
            if target.exists():
                _same_scores(read_record(target), record, target)
            targets.append(target)
        for target, record in zip(targets, records, strict=True):
            if not target.exists():
                write_record(target, record)
        return targets

    def build(self) -> list[Path]:
        """Write every page that is not up to date, remove pages without a dataset; return the changed files."""
        pages = self.render()
        changed = self.stale(pages)
        for path in changed:
            if path.name in pages:
                write_atomic(path, pages[path.name])
            else:
                path.unlink()
        return changed

    def stale(self, pages: Mapping[str, str] | None = None) -> list[Path]:
        """Return the generated files that `build` would write or remove, sorted; nothing is written."""
        pages = self.render() if pages is None else pages
        wrong = [self.folder / name for name, text in pages.items() if _text(self.folder / name) != text]
        return sorted([*wrong, *self._orphans(pages)])

    def render(self) -> dict[str, str]:
        """Return every generated file's text by its name.

        Raises:
            MetabenchError: a record or a curated file is wrong; the message names the file.
        """
        all_boards, removed = self._boards()
        pages = {"README.md": index_markdown(all_boards, removed), HTML_PAGE: html_page(all_boards, removed)}
        for board in all_boards:
            pages[f"{board.name}.md"] = board_markdown(board)
            pages[f"{board.name}.csv"] = board_csv(board)
        return pages

    def html(self, prefix: str) -> str:
        """Return the HTML page; `prefix` leads from it to this folder."""
        return html_page(*self._boards(), prefix)

    def _boards(self) -> tuple[list[Board], list[Invalidated]]:
        contents = self.contents()
        return contents.boards(), [item for item in contents.invalidated.values() if item.removed]

    def contents(self) -> Contents:
        """Read and check everything in the folder.

        Raises:
            MetabenchError: a record or a curated file is wrong; the message names the file.
        """
        entries = self._entries()
        invalidated = read_invalidated(self.folder / "invalidated.toml")
        _refuse_unknown(entries, invalidated, self.folder / "invalidated.toml")
        claims = read_published(self.folder / "published.csv")
        return Contents(entries, claims, invalidated, read_overlaps(self.folder / "contamination.toml"))

    def _entries(self) -> list[Entry]:
        entries: list[Entry] = []
        streams: dict[str, Entry] = {}
        for path in sorted((self.folder / "records").glob("*.json")):
            if path.is_symlink():
                raise RecordError(f"cannot read {path}: it is a link. Put the record itself there.")
            record = read_record(path)
            try:
                admit(record)
            except MetabenchError as problem:
                raise type(problem)(f"{path}: {problem}") from None
            if path.name != file_name(record):
                raise RecordError(f"cannot use {path}: the file must be named {file_name(record)}. Rename it.")
            entry = Entry(record, path.name)
            other = streams.setdefault(entry.stream, entry)
            if other.record.measured.episodes_digest != record.measured.episodes_digest:
                raise RecordError(
                    f"cannot use {path}: protocol, data and seed are those of {other.file}, but the episodes differ "
                    "(episodes_digest). One of the two records is wrong: measure both again."
                )
            entries.append(entry)
        return entries

    def _orphans(self, pages: Mapping[str, str]) -> list[Path]:
        """Return generated pages of datasets that are gone; files without the marker belong to the user."""
        orphans = []
        for path in self.folder.glob("*.md"):
            if path.name not in pages and (_text(path) or "").startswith(MARKER):
                orphans += [p for p in (path, path.with_suffix(".csv")) if p.exists()]
        return orphans


def _refuse_unknown(entries: Sequence[Entry], invalidated: Mapping[str, Invalidated], path: Path) -> None:
    present = {entry.key for entry in entries}
    for key, item in invalidated.items():
        if item.removed and key in present:
            raise UsageError(
                f"cannot use {path}: the record {key[:12]} is listed as removed, but it is in the folder. "
                "Remove its file, or the field removed."
            )
        if not item.removed and key not in present:
            raise UsageError(
                f"cannot use {path}: no record has the key {key[:12]}. Correct the key; if the file was removed, "
                "set removed = true."
            )


def _text(path: Path) -> str | None:
    try:
        return read_bounded(path, TABLE_BYTES).decode()  # not read_text, which would hide foreign line ends
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _same_scores(old: Record, new: Record, path: Path) -> None:
    if old.key != new.key:
        raise RecordError(
            f"cannot add the record {new.short_key}: {path} is another record, whose key has the same 12 digits. "
            "Open an issue: file names need more digits."
        )
    if old.scores != new.scores:
        raise MetabenchError(
            f"cannot add the record {new.short_key}: {path} has the same run with other scores. Find out which are "
            "right; if the new ones are, remove that file first."
        )
