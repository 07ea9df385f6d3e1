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
        raise NothingMeasured("no run that succeeded is there; see 'metabench list runs'")
    return records


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
            try:
                yield read_record(path)
            except OSError as problem:
                raise UsageError(f"cannot read the record {path} ({problem.strerror})") from None
        else:
            yield store.resolve(str(source))
