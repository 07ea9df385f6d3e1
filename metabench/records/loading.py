"""Loading records: from the store, from files and from folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import NothingMeasured, UsageError
from metabench.records.record import read_record
from metabench.records.schema import Record
from metabench.records.store import Store
from metabench.utils.home import Home
from metabench.utils.paths import is_file, is_folder


def load_records(*sources: str | Path, home: str | None = None) -> list[Record]:
    """Return the records of runs that succeeded; arguments and errors as for `load_results`."""
    records = [record for record in _records(sources, Home.resolve(home)) if record.status == "ok"]
    if not records:
        raise NothingMeasured("there is no finished run here. Make one with 'metabench run', or pass another --home.")
    return records


@dataclass(frozen=True)
class NamedRecord:
    """A record, and its file if it was named by one."""

    record: Record
    path: Path | None


def named_record(word: str, home: Home, warn: Callable[[str], None] | None = None) -> NamedRecord:
    """Return the record named by a path or by the first digits of its key.

    Args:
        word: the path or the digits.
        home: has the stored runs.
        warn: called with one line for every file that had to be skipped.

    Raises:
        UsageError: no such file, no such run, or digits that fit more than one.
        RecordError: the file is not a valid record.
    """
    path = Path(word)
    if path.suffix == ".json" or is_file(path):
        return NamedRecord(read_named_record(path), path)
    return NamedRecord(Store(home.root, warn).resolve(word), None)


def read_named_record(path: Path) -> Record:
    """Return the record in the file that a user named.

    Raises:
        UsageError: the file cannot be read.
        RecordError: it is not a valid record.
    """
    try:
        return read_record(path)
    except OSError as problem:
        remedy = "Pass the path of a record, or a key from 'metabench list runs'."
        raise UsageError(f"cannot read the record {path}: {problem.strerror}. {remedy}") from None


def _records(sources: Sequence[str | Path], home: Home) -> Iterable[Record]:
    store = Store(home.root)
    if not sources:
        yield from store.records()
    for source in sources:
        path = Path(source)
        if is_folder(path):
            inner = path / "records"
            yield from map(read_record, sorted((inner if is_folder(inner) else path).glob("*.json")))
        elif is_file(path) or path.suffix == ".json":
            yield read_named_record(path)
        else:
            yield store.resolve(str(source))
