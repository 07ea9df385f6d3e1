"""Files of the maintainers: invalid records, and pre-training data that overlap with test data.

Both are small TOML files in the leaderboard folder. They are read strictly: a misspelt field or a key that fits
no record would silently leave a wrong number in the ranks.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from metabench.errors import UsageError
from metabench.records.strict_json import type_fault
from metabench.utils.bounded_files import read_toml
from metabench.utils.text import plain_line

MAX_REASON = 500
OVERLAPS = ("none", "classes", "images")

Key = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
File = TypeVar("File", bound=Struct)


class Invalidated(Struct, frozen=True, forbid_unknown_fields=True):
    """A record that no longer counts.

    Attributes:
        key: the full key of the record.
        reason: one line for readers.
        date: when it was invalidated.
        removed: the record's file is gone from the folder too (else it stays, for everyone to see).
    """

    key: Key
    reason: str
    date: datetime.date
    removed: bool = False


class Overlap(Struct, frozen=True, forbid_unknown_fields=True):
    """Overlap of pre-training data with the test classes of a dataset, one of `OVERLAPS`."""

    trained_on: str
    dataset: str
    overlap: str
    reason: str


class _InvalidatedFile(Struct, forbid_unknown_fields=True):
    invalidated: list[Invalidated] = []


class _ContaminationFile(Struct, forbid_unknown_fields=True):
    contamination: list[Overlap] = []


def read_invalidated(path: Path) -> dict[str, Invalidated]:
    """Read ``invalidated.toml`` by record key; empty if there is no such file.

    Raises:
        UsageError: malformed, a field that is not known, or a key given twice; with the path of the fault.
    """
    listed: dict[str, Invalidated] = {}
    for number, item in enumerate(_read(path, _InvalidatedFile).invalidated):
        where = f"cannot read {path}: $.invalidated[{number}]"
        if item.key in listed:
            raise UsageError(f"{where}.key is there twice ({item.key[:12]})")
        listed[item.key] = structs.replace(item, reason=_reason(where, item.reason))
    return listed


def read_overlaps(path: Path) -> list[Overlap]:
    """Read ``contamination.toml``; empty if there is no such file.

    Raises:
        UsageError: malformed, or a field that is not known; with the path of the fault.
    """
    listed: dict[tuple[str, str], Overlap] = {}
    for number, item in enumerate(_read(path, _ContaminationFile).contamination):
        where = f"cannot read {path}: $.contamination[{number}]"
        if item.overlap not in OVERLAPS:
            raise UsageError(f"{where}.overlap must be one of {', '.join(OVERLAPS)}")
        if pre_training(item.trained_on) != (item.trained_on,):
            raise UsageError(f"{where}.trained_on must be one name in lower case, as in a backbone's trained_on")
        place = (item.trained_on, item.dataset)
        if place in listed:
            raise UsageError(f"{where}: {place[0]} and {place[1]} are there twice")
        listed[place] = structs.replace(item, reason=_reason(where, item.reason))
    return list(listed.values())


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


def _read(path: Path, kind: type[File]) -> File:
    """Return the content of a TOML file, or of an empty one where there is no file."""
    try:
        return msgspec.convert(read_toml(path), kind, builtin_types=(datetime.date,))
    except FileNotFoundError:
        return kind()
    except msgspec.ValidationError as problem:
        raise UsageError(f"cannot read {path}: {type_fault(problem)}") from None
    except ValueError as problem:
        raise UsageError(f"cannot read {path}: {problem}") from None


def _reason(where: str, text: str) -> str:
    try:
        reason = plain_line(text)
    except ValueError as problem:
        raise UsageError(f"{where}.reason {problem}. Remove it.") from None
    if not 1 <= len(reason) <= MAX_REASON:
        raise UsageError(f"{where}.reason must have 1 to {MAX_REASON} characters")
    return reason
