"""Records named on the command line: a file, or the first digits of the key of a stored run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metabench.utils.home import Home
from metabench.utils.paths import is_file

if TYPE_CHECKING:
    from metabench.records.schema import Record


@dataclass(frozen=True)
class NamedRecord:
    """A record, and its file if it was named by one."""

    record: Record
    path: Path | None


def resolve_record(word: str, home: str | None) -> NamedRecord:
    """Return the record named by a path or by the first digits of its key.

    Raises:
        UsageError: no such file, no such run, or digits that fit more than one.
        RecordError: the file is not a valid record.
    """
    from metabench.records.loading import read_named_record
    from metabench.records.store import Store

    path = Path(word)
    if path.suffix == ".json" or is_file(path):
        return NamedRecord(read_named_record(path), path)
    store = Store(Home.resolve(home).root, warn=lambda line: click.echo(f"warning: {line}", err=True))
    return NamedRecord(store.resolve(word), None)
