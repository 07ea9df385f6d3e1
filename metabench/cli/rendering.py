"""Output of commands: tables, JSON, warnings."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from metabench.registry.registry import Registry
from metabench.reports.text_table import terminal_columns

WIDTH = 120
"""Columns of a table that goes to no terminal."""


def plain(value: Any) -> Any:
    """Return `value` with data classes and mappings as dicts and tuples as lists, ready for JSON."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def echo_json(value: Any) -> None:
    """Write `value` as indented JSON to stdout."""
    click.echo(json.dumps(plain(value), indent=2))


def cell(value: Any) -> str:
    """Return `value` as text for a terminal: one line, without control characters that a record may hold."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(char if char.isprintable() else "?" for char in str(value))


def columns(header: Sequence[str], rows: Iterable[Sequence[Any]], wrap: bool = False) -> str:
    """Return rows as left-aligned text columns under their header; `wrap` fits them into the terminal."""
    texts = ([cell(value) for value in row] for row in rows)
    return terminal_columns(header, texts, _terminal_width() if wrap else 0)


def _terminal_width() -> int:
    """Return the width of the terminal; what goes into a file or a pipe is `WIDTH` wide."""
    return shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else WIDTH


def warn_of_broken(registry: Registry) -> None:
    """Write one line to stderr for each plugin and name that is left out."""
    for info in registry.plugins.broken:
        click.echo(f"warning: plugin {cell(info.origin)} is broken: {cell(info.error)}", err=True)
    for (kind, name), origins in registry.clashes.items():
        claims = " and ".join(origins)
        click.echo(f"warning: {kind} '{name}' is provided by {claims}; neither is used", err=True)
