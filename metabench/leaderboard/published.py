"""Published values: the curated claims of ``published.csv``, and how a measured value stands to one."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from metabench.errors import UsageError
from metabench.leaderboard.entries import FILE_SAFE_NAME, RESERVED, Column
from metabench.records.strict_json import type_fault
from metabench.utils.bounded_files import SOURCE_BYTES, read_bounded
from metabench.utils.text import plain_line

CLAIM_KINDS = ("paper", "replication")
PUBLISHED_COLUMNS = ("algorithm", "backbone", "dataset", "way", "shot", "query", "accuracy", "ci95", "source", "kind")
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Published:
    """A claimed accuracy.

    Attributes:
        cell: way and shot, and the queries of each class as ``query=1`` where the value depends on them, as it does
            where a method uses all queries of an episode together.
        accuracy: in percent.
        margin: half-width of the interval that the source prints; where it prints none, half a unit of its
            last digit.
        text: the digits of the source, with its ± if it gives one.
    """

    algorithm: str
    backbone: str
    dataset: str
    cell: Column
    accuracy: float
    margin: float
    text: str
    source: str
    kind: str

    @property
    def sort_key(self) -> tuple[str, str, str, Column, str, str]:
        """Fields by which claims are sorted; no two claims of a file have the same."""
        return (self.dataset, self.algorithm, self.backbone, self.cell, self.kind, self.source)

    def gap(self, accuracy: float) -> float:
        """Return how far above (+) or below (-) the claim an accuracy is, in points."""
        return accuracy - self.accuracy

    def differs_from(self, accuracy: float, ci95: float | None) -> bool:
        """Return whether an accuracy differs from the claim by more than the 95 % interval of their difference.

        Args:
            accuracy: in percent.
            ci95: half-width of its interval; None where it has none, and nothing can be said.
        """
        return ci95 is not None and abs(self.gap(accuracy)) > math.hypot(self.margin, ci95)


def read_published(path: Path) -> list[Published]:
    """Read the curated claims, sorted; none if there is no such file.

    Raises:
        UsageError: a malformed line; the message names it.
    """
    try:
        text = read_bounded(path, SOURCE_BYTES).decode()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: it is not UTF-8 ({error}). Save it as CSV in UTF-8.") from None
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != PUBLISHED_COLUMNS:
        raise UsageError(f"cannot read {path}: the first line must be {','.join(PUBLISHED_COLUMNS)}")
    claims: list[Published] = []
    keys = set()
    for row in _rows(reader, path):
        where = f"cannot read {path}: line {reader.line_num}"
        try:
            claims.append(_claim(_line(row)))
        except msgspec.ValidationError as problem:
            raise UsageError(f"{where}: {type_fault(problem).removeprefix('$.')}") from None
        except ValueError as problem:
            raise UsageError(f"{where}: {problem}. Correct the line.") from None
        if claims[-1].sort_key in keys:
            raise UsageError(f"{where}: it repeats a claim of the same source. Remove one.")
        keys.add(claims[-1].sort_key)
    return sorted(claims, key=lambda claim: claim.sort_key)


def _rows(reader: csv.DictReader[str], path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as problem:  # such as a field beyond the limit of the module
        raise UsageError(f"cannot read {path}: line {reader.line_num}: {problem}. Correct the line.") from None


class _Line(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the file; a column that is left empty has its default."""

    algorithm: str
    backbone: str
    dataset: str
    way: str
    shot: str
    accuracy: str
    kind: str
    query: str = ""
    ci95: str = ""
    source: str = ""


def _line(row: Mapping[str, str | None]) -> _Line:
    if None in row:
        raise ValueError(f"has more columns than {len(PUBLISHED_COLUMNS)}")
    return msgspec.convert({name: text for name, text in row.items() if text}, _Line)


def _claim(line: _Line) -> Published:
    for kind, name in (("algorithm", line.algorithm), ("backbone", line.backbone), ("dataset", line.dataset)):
        if not FILE_SAFE_NAME.fullmatch(name):
            raise ValueError(f"the {kind} {name[:80]!r} is not a plugin name")
    if line.dataset.lower() in RESERVED:
        raise ValueError(f"a leaderboard cannot have a dataset named {line.dataset!r}")
    if line.kind not in CLAIM_KINDS:
        raise ValueError(f"the kind must be one of {', '.join(CLAIM_KINDS)}")
    source = _source(line.source)
    for column, text in (("way", line.way), ("shot", line.shot), ("query", line.query or "1")):
        if not _COUNT.fullmatch(text):
            raise ValueError(f"{column} {text[:80]!r} is not a whole number from 1 to 999999")
    for column, text in (("accuracy", line.accuracy), ("ci95", line.ci95)):
        if text and not (_PERCENT.fullmatch(text) and float(text) <= 100):
            raise ValueError(f"{column} {text[:80]!r} is not a percentage")
    return Published(
        algorithm=line.algorithm,
        backbone=line.backbone,
        dataset=line.dataset,
        cell=Column("", int(line.way), int(line.shot), params=(f"query={line.query}",) if line.query else ()),
        accuracy=float(line.accuracy),
        margin=float(line.ci95) if line.ci95 else 0.5 * 10.0 ** -len(line.accuracy.partition(".")[2]),
        text=f"{line.accuracy} ± {line.ci95}" if line.ci95 else line.accuracy,
        source=source,
        kind=line.kind,
    )


def _source(text: str) -> str:
    try:
        source = plain_line(text)
    except ValueError as problem:
        raise ValueError(f"the source {problem}") from None
    if not source:
        raise ValueError("a claim needs a source")
    return source
