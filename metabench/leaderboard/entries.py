"""What stands on a leaderboard: measured records, checked and grouped into rows, and published values."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, UsageError
from metabench.keys import canonical_json
from metabench.records import RecordError

KINDS = ("paper", "replication")
PUBLISHED_COLUMNS = (
    "algorithm",
    "backbone",
    "dataset",
    "way",
    "shot",
    "accuracy",
    "ci95",
    "source",
    "kind",
)
RESERVED = ("readme", "published", "records")  # files of the folder that a data set's page must not replace
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,6})?")
_OF_THE_CELL = ("way", "shot", "query", "episodes")


@dataclass(frozen=True, order=True)
class Cell:
    """A column of a page: way and shot, or where a protocol draws them anew, its name (then both are 0).

    They sort by way and shot, and those with a name come last.
    """

    protocol: str
    way: int
    shot: int

    @property
    def title(self) -> str:
        """What stands above the column."""
        return self.protocol or f"{self.way}-way {self.shot}-shot"


@dataclass(frozen=True)
class Published:
    """A claimed accuracy in percent; `text` keeps the digits of the source, with its ± if it gives one."""

    algorithm: str
    backbone: str
    dataset: str
    cell: Cell
    accuracy: float
    text: str
    source: str
    kind: str

    @property
    def place(self) -> tuple[str, str, str, Cell, str, str]:
        """What sorts claims and tells them apart."""
        return (self.dataset, self.algorithm, self.backbone, self.cell, self.kind, self.source)


@dataclass(frozen=True)
class Entry:
    """A measured record and the name of its file in ``records/``."""

    record: Mapping[str, Any]
    file: str

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The record's inputs."""
        inputs: Mapping[str, Any] = self.record["inputs"]
        return inputs

    @property
    def cell(self) -> Cell:
        """The column it belongs to."""
        protocol = self.inputs["protocol"]
        way, shot = protocol["params"].get("way", 0), protocol["params"].get("shot", 0)
        return Cell("", way, shot) if way and shot else Cell(protocol["name"], 0, 0)

    @property
    def variant(self) -> str:
        """The exact test data (canonical JSON); scores on different variants are not comparable."""
        return canonical_json(self.inputs["dataset"])


@dataclass(frozen=True)
class Line:
    """A row of a page: runs that differ only in their cell."""

    cells: Mapping[Cell, Entry]

    @property
    def first(self) -> Entry:
        """The entry that speaks for what all entries of the row share."""
        return self.cells[min(self.cells)]


def file_name(record: Mapping[str, Any]) -> str:
    """Return the file name of an admitted record."""
    cell = Entry(record, "").cell
    where = cell.protocol or f"{cell.way}w{cell.shot}s"
    inputs = record["inputs"]
    return f"{inputs['algorithm']['name']}-{inputs['dataset']['name']}-{where}-{record['key'][:12]}.json"


def admit(record: Mapping[str, Any]) -> None:
    """Check that a valid record may stand on a leaderboard.

    Raises:
        MetabenchError: its run did not succeed, it is marked as local, or a name is not fit for a file.
    """
    short = record["key"][:12]
    if record["status"] != "ok":
        raise MetabenchError(f"record {short} is {record['status']}: only a run that succeeded can be added")
    if record["provenance"].get("local"):
        raise MetabenchError(f"record {short} was made with local code or data that others do not have")
    for part in ("algorithm", "backbone", "dataset", "protocol"):
        name = record["inputs"][part]["name"]
        if not _NAME.fullmatch(name):
            raise RecordError(f"record {short}: the {part} name {name[:80]!r} is not fit for a leaderboard")
    if record["inputs"]["dataset"]["name"].lower() in RESERVED:
        raise RecordError(f"record {short}: a leaderboard cannot have a data set of that name")


def group(entries: Iterable[Entry]) -> list[Line]:
    """Return the rows of one variant, best first.

    Runs of one row agree in everything but way and shot, of the episodes and of the training, and the number
    of training episodes, which the page shows; where that would put two runs into one cell, the whole group is
    divided by how they were trained.
    """
    coarse: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        coarse[_group_key(entry, exact=False)].append(entry)
    lines = []
    for members in coarse.values():
        if len({entry.cell for entry in members}) == len(members):
            lines.append(Line({entry.cell: entry for entry in members}))
            continue
        fine: dict[str, dict[Cell, Entry]] = defaultdict(dict)
        for entry in members:
            fine[_group_key(entry, exact=True)][entry.cell] = entry
        lines += [Line(cells) for cells in fine.values()]
    return _sorted(lines)


def read_published(path: Path) -> list[Published]:
    """Read the curated claims, sorted; none if there is no such file.

    Raises:
        UsageError: a malformed line; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != PUBLISHED_COLUMNS:
        raise UsageError(f"{path}: the first line must be {','.join(PUBLISHED_COLUMNS)}")
    claims: list[Published] = []
    places = set()
    for row in reader:
        try:
            claims.append(_claim(row))
        except (TypeError, ValueError) as problem:
            raise UsageError(f"{path}, line {reader.line_num}: {problem}") from None
        if claims[-1].place in places:
            raise UsageError(f"{path}, line {reader.line_num}: repeats a claim of the same source")
        places.add(claims[-1].place)
    return sorted(claims, key=lambda claim: claim.place)


def _group_key(entry: Entry, *, exact: bool) -> str:
    inputs = entry.inputs
    protocol = inputs["protocol"]
    rest = {name: value for name, value in protocol["params"].items() if name not in ("way", "shot")}
    training = inputs["training"]
    if training is not None and not exact:
        training = {name: value for name, value in training.items() if not name.endswith(_OF_THE_CELL)}
    return canonical_json({**inputs, "protocol": {**protocol, "params": rest}, "training": training})


def _sorted(lines: list[Line]) -> list[Line]:
    """By accuracy in the first column, then the next; a row without a value there comes after the others."""
    columns = sorted({cell for line in lines for cell in line.cells})

    def rank(line: Line) -> tuple[Any, ...]:
        scores = [line.cells[c].record["summary"]["accuracy"] if c in line.cells else -1.0 for c in columns]
        return (*(-score for score in scores), line.first.record["key"])

    return sorted(lines, key=rank)


def _claim(row: Mapping[str, str]) -> Published:
    for name in ("algorithm", "backbone", "dataset"):
        if not _NAME.fullmatch(row[name]):
            raise ValueError(f"the {name} {row[name][:80]!r} is no plugin name")
    if row["dataset"].lower() in RESERVED:
        raise ValueError(f"a leaderboard cannot have a data set named {row['dataset']!r}")
    if row["kind"] not in KINDS:
        raise ValueError(f"the kind must be one of {', '.join(KINDS)}")
    if not row["source"].strip():
        raise ValueError("a claim needs a source")
    cell = Cell("", int(row["way"]), int(row["shot"]))
    if min(cell.way, cell.shot) < 1:
        raise ValueError("way and shot start at 1")
    for name in ("accuracy", "ci95"):
        if (row[name] or name == "accuracy") and not (_PERCENT.fullmatch(row[name]) and float(row[name]) <= 100):
            raise ValueError(f"{name} {row[name][:80]!r} is no percentage")
    text = f"{row['accuracy']} ± {row['ci95']}" if row["ci95"] else row["accuracy"]
    named = (row["algorithm"], row["backbone"], row["dataset"])
    return Published(*named, cell, float(row["accuracy"]), text, row["source"].strip(), row["kind"])


def claims_for(line: Line, cell: Cell, claims: Sequence[Published]) -> Published | None:
    """Return the paper's claim for a cell of a row: same algorithm, backbone, data set, way and shot."""
    names = tuple(line.first.inputs[part]["name"] for part in ("algorithm", "backbone", "dataset"))
    fitting = [c for c in claims if (c.algorithm, c.backbone, c.dataset) == names and c.cell == cell]
    return next((claim for claim in fitting if claim.kind == "paper"), None)
