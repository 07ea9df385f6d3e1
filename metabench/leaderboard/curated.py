"""Statements of maintainers: invalid records, and pre-training that met the test data.

Both are small TOML files in the leaderboard folder. They are read strictly: a misspelt field or a key that fits
no record would silently leave a wrong number in the ranks.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.errors import UsageError
from metabench.utils.bounded_files import read_toml

MAX_REASON = 500
OVERLAPS = ("none", "classes", "images")
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Invalidated:
    """A record that no longer counts.

    Attributes:
        key: the full key of the record.
        reason: one line for readers.
        date: when it was invalidated.
        removed: the record's file is gone from the folder too (else it stays, for everyone to see).
    """

    key: str
    reason: str
    date: datetime.date
    removed: bool = False


@dataclass(frozen=True)
class Overlap:
    """The overlap (see `OVERLAPS`) of pre-training data with the test classes of a dataset."""

    trained_on: str
    dataset: str
    overlap: str
    reason: str


def read_invalidated(path: Path) -> dict[str, Invalidated]:
    """Read ``invalidated.toml`` by record key; empty if there is no such file.

    Raises:
        UsageError: malformed, a field that is not known, or a key given twice.
    """
    invalidated: dict[str, Invalidated] = {}
    for where, table in _tables(path, "invalidated", {"key": str, "reason": str, "date": datetime.date}, ("removed",)):
        key, removed = table["key"], table.get("removed", False)
        if not _KEY.fullmatch(key):
            raise UsageError(f"{where}: the key must be all 64 hexadecimal digits of a record's key")
        if type(removed) is not bool:
            raise UsageError(f"{where}: removed is true or false")
        if key in invalidated:
            raise UsageError(f"{where}: the key {key[:12]} stands there twice")
        invalidated[key] = Invalidated(key, _reason(where, table), table["date"], removed)
    return invalidated


def read_overlaps(path: Path) -> list[Overlap]:
    """Read ``contamination.toml``; empty if there is no such file.

    Raises:
        UsageError: malformed, or a field that is not known.
    """
    fields = {"trained_on": str, "dataset": str, "overlap": str, "reason": str}
    overlaps: dict[tuple[str, str], Overlap] = {}
    for where, table in _tables(path, "contamination", fields, ()):
        if table["overlap"] not in OVERLAPS:
            raise UsageError(f"{where}: overlap is one of {', '.join(OVERLAPS)}")
        if pre_training(table["trained_on"]) != (table["trained_on"],):
            raise UsageError(f"{where}: trained_on is one name in lower case, as in a backbone's trained_on")
        place = (table["trained_on"], table["dataset"])
        if place in overlaps:
            raise UsageError(f"{where}: {place[0]} and {place[1]} stand there twice")
        overlaps[place] = Overlap(*place, table["overlap"], _reason(where, table))
    return list(overlaps.values())


def pre_training(trained_on: str) -> tuple[str, ...]:
    """Return the names in a backbone's `trained_on`: separated by commas or +, lower case.

    >>> pre_training("ImageNet-1k + Places")
    ('imagenet-1k', 'places')
    """
    return tuple(name for part in re.split("[,+]", trained_on) if (name := " ".join(part.lower().split())))


def contamination(trained_on: str, dataset: str, overlaps: Sequence[Overlap]) -> str:
    """Return the worst known overlap of pre-training data with a dataset's test classes.

    ``""`` without pre-training; one of `OVERLAPS`; ``"unchecked"`` where some of the data are in no entry
    and the others have none, or no name can be read out of `trained_on`.
    """
    if not trained_on:
        return ""
    known = {(entry.trained_on, entry.dataset): entry.overlap for entry in overlaps}
    verdicts = [known.get((name, dataset), "unchecked") for name in pre_training(trained_on)]
    order = ("images", "classes", "unchecked", "none")
    return next((verdict for verdict in order if verdict in verdicts), "unchecked")


def _tables(
    path: Path, name: str, fields: Mapping[str, type], optional: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each ``[[name]]`` table of a TOML file with its place in words, its fields checked."""
    try:
        document = read_toml(path)
    except FileNotFoundError:
        return
    except ValueError as problem:
        raise UsageError(f"{path}: {problem}") from None
    tables = document.pop(name, [])
    if document or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(
            f"{path}: it holds [[{name}]] tables and nothing else{''.join(f', not {k}' for k in document)}"
        )
    for number, table in enumerate(tables, 1):
        where = f"{path}, [[{name}]] {number}"
        for field, kind in fields.items():
            if type(table.get(field)) is not kind:
                wanted = {str: "text", datetime.date: "a date such as 2026-11-24"}[kind]
                raise UsageError(f"{where}: {field} is missing or not {wanted}")
        for field in table:
            if field not in fields and field not in optional:
                raise UsageError(f"{where}: unknown field {field!r}; known: {', '.join([*fields, *optional])}")
        yield where, table


def _reason(where: str, table: Mapping[str, Any]) -> str:
    reason = " ".join(table["reason"].split())
    if not 1 <= len(reason) <= MAX_REASON:
        raise UsageError(f"{where}: the reason has 1 to {MAX_REASON} characters")
    return reason
