"""The local store: plain files under one folder, safe to share between processes.

``records/<key>.json`` are finished runs, ``partial/<key>.f64`` the scores of runs that were cut short,
``locks/`` keeps two processes from measuring the same thing twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from msgspec.structs import replace

from metabench.errors import UsageError
from metabench.records.consistency import RecordError, check_record
from metabench.records.record import NewerSchemaError, read_record, write_record
from metabench.records.schema import Record, SuiteMark, SweepMark

_KEY = re.compile("[0-9a-f]{64}")
HEADER = 32
"""Bytes at the start of a partial file that say who scores."""
_PREFIX = re.compile("[0-9a-f]{4,64}")
_LISTS: dict[type[SuiteMark | SweepMark], str] = {SuiteMark: "suites", SweepMark: "sweeps"}
"""The list of the provenance that holds marks of a kind."""


class Store:
    """Records by key.

    Args:
        root: folder of the store; made when something is written.
        warn: called with one line for every file that had to be skipped.

    Attributes:
        warnings: the same lines, in order.
    """

    def __init__(self, root: Path, warn: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.warnings: list[str] = []
        self._warn = warn

    def path(self, key: str) -> Path:
        """Return where the record with this key is or would be."""
        return self.root / "records" / f"{checked_key(key)}.json"

    def find(self, key: str) -> Record | None:
        """Return the record with this key if its run succeeded, else None.

        A damaged file is moved aside to ``<name>.corrupt``, reported, and counts as absent.

        Raises:
            NewerSchemaError: the record is from a newer metabench, and measuring anew would overwrite it.
        """
        record = self._read(self.path(key))
        return record if record is not None and record.status == "ok" else None

    def put(self, record: Record) -> Path:
        """Store a record and return its path; a run that did not succeed never replaces one that did.

        Raises:
            RecordError: the record is not valid.
            OSError: it cannot be written; what was there before stays.
        """
        check_record(record)
        path = self.path(record.key)
        if record.status == "ok" or self.find(record.key) is None:
            write_record(path, record)
        return path

    def records(self) -> Iterator[Record]:
        """Yield every readable record, whatever its status, in the order of their keys."""
        for path in sorted((self.root / "records").glob("*.json")):
            if not _KEY.fullmatch(path.stem):
                continue
            try:
                record = self._read(path)
            except NewerSchemaError as problem:
                self._report(str(problem))
                continue
            if record is not None:
                yield record

    def resolve(self, prefix: str) -> Record:
        """Return the one record whose key starts with `prefix` (at least 4 hexadecimal digits).

        Raises:
            UsageError: no such record, more than one, or not a key.
        """
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(f"'{prefix[:80]}' is not a record key: give 4 to 64 of its hexadecimal digits")
        paths = sorted((self.root / "records").glob(f"{prefix}*.json"))
        if len(paths) > 1:
            raise UsageError(f"'{prefix}' fits {len(paths)} records in {self.root}: give more digits")
        record = self._read(paths[0]) if paths else None
        if record is None:
            raise UsageError(f"no record '{prefix}' in {self.root}: run it first, or give another --home")
        return record

    def mark(self, key: str, entry: SuiteMark | SweepMark) -> Record | None:
        """Add a mark to the provenance of a run that succeeded, once; return the record.

        What was measured and what determines it stay as they are.
        """
        with self.lock(key):
            record = self.find(key)
            if record is None or entry in getattr(record.provenance, _LISTS[type(entry)]):
                return record
            listed = (*getattr(record.provenance, _LISTS[type(entry)]), entry)
            record = replace(record, provenance=replace(record.provenance, **{_LISTS[type(entry)]: listed}))
            self.put(record)
            return record

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock of a key, waiting for another process that holds it; then look with `find` again."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{checked_key(key)}.lock"):
            yield

    def _read(self, path: Path) -> Record | None:
        try:
            record = read_record(path)
            if record.key != path.stem:
                raise RecordError(f"cannot read record {path}: $.key is not the name of the file")
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            self._report(f"cannot read record {path}: it is a folder. Remove it.")
            return None
        except NewerSchemaError:
            raise
        except RecordError as problem:
            aside = path.with_name(path.name + ".corrupt")
            path.replace(aside)
            self._report(f"{problem}; moved to {aside.name}")
            return None
        return record

    def _report(self, line: str) -> None:
        self.warnings.append(line)
        if self._warn is not None:
            self._warn(line)


def checked_key(key: str) -> str:
    """Return a key, which becomes a file name, if it is nothing but a key.

    Raises:
        UsageError: it is something else.
    """
    if not _KEY.fullmatch(key):
        raise UsageError(f"'{key[:80]}' is not a record key (64 hexadecimal digits)")
    return key
