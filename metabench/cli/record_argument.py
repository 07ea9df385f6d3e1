"""Records named on the command line: a file, or the first digits of the key of a stored run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from metabench.utils.home import Home

if TYPE_CHECKING:
    from metabench.records.loading import NamedRecord


def resolve_record(word: str, home: str | None) -> NamedRecord:
    """Return the record named by a path or by the first digits of its key; see `records.loading.named_record`."""
    from metabench.records.loading import named_record

    return named_record(word, Home.resolve(home), lambda line: click.echo(f"warning: {line}", err=True))
