"""Loading records: from the store, from files and from folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
