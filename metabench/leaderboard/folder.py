"""The folder of a leaderboard: adding records, building its pages, telling whether they are stale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError
from metabench.leaderboard.entries import Entry, Published, admit, file_name, read_published
from metabench.leaderboard.render import MARKER, index, page
from metabench.records import RecordError, read_record, validate_record, write_atomic, write_record


class Leaderboard:
    """Records, published claims and generated pages in one folder.

    Args:
        folder: holds ``records/*.json`` and ``published.csv``; the pages are written beside them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, records: Sequence[Mapping[str, Any]]) -> list[Path]:
        """Copy records into the folder, all or none, and return their paths.

        A record that is there already with the same scores is left as it is.

        Raises:
            MetabenchError: a record is not valid, may not stand here, or contradicts one that does.
        """
        targets = []
        for record in records:
            validate_record(record)
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
        """Write every page that is not up to date, remove pages without a data set; return what changed."""
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
            MetabenchError: a record or a published claim is wrong; the message names the file.
        """
        measured: dict[str, list[Entry]] = defaultdict(list)
        claimed: dict[str, list[Published]] = defaultdict(list)
        for entry in self._entries():
            measured[entry.inputs["dataset"]["name"]].append(entry)
        for claim in read_published(self.folder / "published.csv"):
            claimed[claim.dataset].append(claim)
        pages, counts = {}, {}
        for name in sorted({*measured, *claimed}):
            markdown, data = page(name, measured[name], claimed[name])
            pages[f"{name}.md"], pages[f"{name}.csv"] = markdown, data
            counts[name] = (len(measured[name]), len(claimed[name]))
        pages["README.md"] = index(counts)
        return pages

    def _entries(self) -> list[Entry]:
        entries = []
        for path in sorted((self.folder / "records").glob("*.json")):
            record = read_record(path)
            try:
                admit(record)
            except MetabenchError as problem:
                raise type(problem)(f"{path}: {problem}") from None
            if path.name != file_name(record):
                raise RecordError(f"{path}: the file must be named {file_name(record)}")
            entries.append(Entry(record, path.name))
        return entries

    def _orphans(self, pages: Mapping[str, str]) -> list[Path]:
        """Generated pages of data sets that are gone; files without our mark are not ours to remove."""
        orphans = []
        for path in self.folder.glob("*.md"):
            if path.name not in pages and (_text(path) or "").startswith(MARKER):
                orphans += [p for p in (path, path.with_suffix(".csv")) if p.exists()]
        return orphans


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()  # not read_text, which would hide foreign line ends
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _same_scores(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    if old["key"] != new["key"]:
        raise RecordError(f"{path}: another record has this name; keys that agree in 12 digits")
    if old["scores"] != new["scores"]:
        raise MetabenchError(
            f"{path}: this run is on the leaderboard with other scores; find out which are right, and if the "
            "new ones are, remove that file first"
        )
