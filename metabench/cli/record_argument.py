"""Records named on the command line: a file, or the first digits of the key of a stored run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metabench.errors import UsageError
from metabench.utils.home import Home
from metabench.utils.paths import is_file

if TYPE_CHECKING:
    from metabench.records.schema import Record


@dataclass(frozen=True)
class Given:
    """A record, and the file it came from where it was named as a file."""

    record: Record
    path: Path | None


def given(word: str, home: str | None) -> Given:
    """Return the record that a word names.

    Raises:
        UsageError: no such file, no such run, or digits that fit more than one.
        RecordError: the file is not a valid record.
    """
    from metabench.records.record import read_record
    from metabench.records.store import Store

    path = Path(word)
    if path.suffix == ".json" or is_file(path):
        try:
            return Given(read_record(path), path)
        except OSError as problem:
            raise UsageError(f"cannot read the record {path}: {problem.strerror}") from None
    store = Store(Home.resolve(home).root, warn=lambda line: click.echo(f"warning: {line}", err=True))
    return Given(store.resolve(word), None)
