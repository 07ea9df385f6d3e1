"""Published values: the curated claims of ``published.csv``, and their distance from measured values."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import UsageError
from metabench.leaderboard.entries import FILE_SAFE_NAME, RESERVED, Column
from metabench.utils.bounded_files import SOURCE_BYTES, read_bounded

CLAIM_KINDS = ("paper", "replication")
PUBLISHED_COLUMNS = ("algorithm", "backbone", "dataset", "way", "shot", "query", "accuracy", "ci95", "source", "kind")
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,6})?")


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
    def place(self) -> tuple[str, str, str, Column, str, str]:
        """The sort key of a claim, different for all claims."""
        return (self.dataset, self.algorithm, self.backbone, self.cell, self.kind, self.source)

    def gap(self, accuracy: float) -> float:
        """Return how far above (+) or below (-) the claim an accuracy is, in points."""
        return accuracy - self.accuracy

    def misses(self, accuracy: float, ci95: float | None) -> bool:
        """Return whether an accuracy differs from the claim by more than the 95 % interval of their difference.

        Args:
            accuracy: in percent.
            ci95: half-width of its interval; None where it has none; then the answer is False.
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
    places = set()
    for row in reader:
        try:
            claims.append(_claim(row))
        except (TypeError, ValueError) as problem:
            raise UsageError(f"cannot read {path}, line {reader.line_num}: {problem}. Correct the line.") from None
        if claims[-1].place in places:
            raise UsageError(
                f"cannot read {path}, line {reader.line_num}: it repeats a claim of the same source. Remove one."
            )
        places.add(claims[-1].place)
    return sorted(claims, key=lambda claim: claim.place)


def _claim(row: Mapping[str, str]) -> Published:
    for name in ("algorithm", "backbone", "dataset"):
        if not FILE_SAFE_NAME.fullmatch(row[name]):
            raise ValueError(f"the {name} {row[name][:80]!r} is not a plugin name")
    if row["dataset"].lower() in RESERVED:
        raise ValueError(f"a leaderboard cannot have a dataset named {row['dataset']!r}")
    if row["kind"] not in CLAIM_KINDS:
        raise ValueError(f"the kind must be one of {', '.join(CLAIM_KINDS)}")
    if not row["source"].strip():
        raise ValueError("a claim needs a source")
    way, shot, query = int(row["way"]), int(row["shot"]), int(row["query"] or 1)
    if min(way, shot, query) < 1:
        raise ValueError("way, shot and query must be at least 1")
    cell = Column("", way, shot, params=(f"query={query}",) if row["query"] else ())
    for name in ("accuracy", "ci95"):
        if (row[name] or name == "accuracy") and not (_PERCENT.fullmatch(row[name]) and float(row[name]) <= 100):
            raise ValueError(f"{name} {row[name][:80]!r} is not a percentage")
    text = f"{row['accuracy']} ± {row['ci95']}" if row["ci95"] else row["accuracy"]
    margin = float(row["ci95"]) if row["ci95"] else 0.5 * 10.0 ** -len(row["accuracy"].partition(".")[2])
    named = (row["algorithm"], row["backbone"], row["dataset"])
    return Published(*named, cell, float(row["accuracy"]), margin, text, row["source"].strip(), row["kind"])
