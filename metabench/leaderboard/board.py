"""A leaderboard as data: sections, rows, ranks and marks; Markdown, CSV, the HTML page and `check` show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from metabench.leaderboard.curated import Invalidated, Overlap, contamination
from metabench.leaderboard.entries import Column, Entry
from metabench.leaderboard.published import Published
from metabench.leaderboard.rows import BoardRow, group_rows
from metabench.records.copy_counts import BETWEEN_SPLITS, copies_words, most
from metabench.records.inputs import DatasetInputs
from metabench.reports.text import params_text
from metabench.statistics.tied_ranks import Rank, rank


@dataclass(frozen=True)
class Section:
    """Everything measured on exactly the same test data.

    Attributes:
        dataset: the dataset as in the records' inputs.
        rows: best first.
        claims: published values of the dataset, for all its variants.
        overlaps: the known overlaps of pre-training data with test classes.
    """

    dataset: DatasetInputs
    rows: Sequence[BoardRow]
    claims: Sequence[Published]
    overlaps: Sequence[Overlap]

    @cached_property
    def cells(self) -> list[Column]:
        """The columns, in order."""
        return sorted({cell for row in self.rows for cell in row.cells})

    def title_of(self, cell: Column) -> str:
        """Return the heading of a column."""
        return ", ".join(filter(None, [cell.title, self.apart(cell)]))

    def apart(self, cell: Column) -> str:
        """Return the protocol parameters that distinguish a column from others of the same title; '' without any."""
        same = [set(other.params) for other in self.cells if other.title == cell.title]
        shared = set.intersection(*same) if same else set(cell.params)
        return ", ".join(param for param in cell.params if param not in shared)

    @cached_property
    def ranks(self) -> dict[tuple[str, Column], Rank | None]:
        """The rank of every row (by its identity) in every column where it has a result; None of a single episode."""
        ranks: dict[tuple[str, Column], Rank | None] = {}
        for cell in self.cells:
            rows = [row for row in self.rows if cell in row.cells]
            places = rank([row.cells[cell] for row in rows])
            ranks |= {(row.identity, cell): place for row, place in zip(rows, places, strict=True)}
        return ranks

    @property
    def title(self) -> str:
        """The properties that distinguish this test data from others of the same name; not escaped."""
        data = self.dataset
        params = f", {params_text(data.params)}" if data.params else ""
        different = {
            entry.record.provenance.pixels.get(data.name, "") for row in self.rows for entry in row.entries
        } - {""}
        pixels = f"; pixels: {'; '.join(sorted(different))}" if different else ""
        copies = f"; copies: {copies_words(self.copies)}" if self.copies else ""
        beside = "".join(f" beside the classes of {split}" for split in data.beside)
        digest = data.digest[:12]
        return f"{data.split} split{beside}, version {data.version}{params}, digest {digest}{pixels}{copies}"

    @cached_property
    def copies(self) -> dict[str, int]:
        """The numbers of copies in the test data, by kind; all records that counted them agree."""
        counted = (entry.record.copies for row in self.rows for entry in row.entries)
        return most({kind: n for kind, n in counts.items() if kind != BETWEEN_SPLITS} for counts in counted)

    def copies_behind(self, row: BoardRow) -> dict[str, int]:
        """Return the numbers of copies behind a row: those in the test data, and what its training had, too."""
        return most([self.copies, *(entry.record.copies for entry in row.entries)])

    @property
    def floorless(self) -> list[Column]:
        """Columns without a floor row."""
        return [cell for cell in self.cells if not any(row.floor and cell in row.cells for row in self.rows)]

    def contamination(self, row: BoardRow) -> str:
        """Return the worst known overlap of a row's pre-training with the test classes, see `curated.contamination`."""
        return contamination(row.first.inputs.backbone.trained_on, self.dataset.name, self.overlaps)

    def claim(self, row: BoardRow, cell: Column) -> Published | None:
        """Return the paper's claim for a cell of a row: same algorithm, backbone, dataset, way and shot.

        Where the claim is for a number of queries, that number must be the same, too.
        """
        inputs = row.first.inputs
        names = (inputs.algorithm.name, inputs.backbone.name, inputs.dataset.name)
        asked = tuple(param for param in cell.params if param.startswith("query="))
        for params in (asked, ()):
            if claim := self._papers.get((*names, replace(cell, params=params))):
                return claim
        return None

    @cached_property
    def _papers(self) -> dict[tuple[Any, ...], Published]:
        papers = [claim for claim in self.claims if claim.kind == "paper"]
        return {(c.algorithm, c.backbone, c.dataset, c.cell): c for c in reversed(papers)}


@dataclass(frozen=True)
class Board:
    """One dataset of a leaderboard.

    Attributes:
        name: of the dataset.
        sections: one for each variant of the test data.
        claims: published values.
        invalid: records that do not count, with the reasons.
    """

    name: str
    sections: Sequence[Section]
    claims: Sequence[Published]
    invalid: Sequence[tuple[Entry, Invalidated]]

    @property
    def records(self) -> int:
        """The number of records that count."""
        return sum(len(row.entries) for section in self.sections for row in section.rows)


def _order(item: tuple[str, Sequence[Entry]]) -> tuple[bool, str]:
    """Return a sort key: test classes by themselves come before those that have other classes beside them."""
    variant, members = item
    return bool(members[0].inputs.dataset.beside), variant


def _with_origins(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the origin of weights from a file, where its run is among the entries."""
    made = [(entry.record.weights_sha256, entry) for entry in entries]
    trained = {weights: entry.inputs for weights, entry in made if weights and entry.seed is not None}
    taken = [entry.checkpoint for entry in entries]
    return [replace(entry, origin=trained.get(weights)) for entry, weights in zip(entries, taken, strict=True)]


def boards(
    entries: Iterable[Entry],
    claims: Iterable[Published],
    invalidated: Mapping[str, Invalidated],
    overlaps: Sequence[Overlap],
) -> list[Board]:
    """Return the board of every dataset with records or claims, by name."""
    measured: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    invalid: dict[str, list[tuple[Entry, Invalidated]]] = defaultdict(list)
    claimed: dict[str, list[Published]] = defaultdict(list)
    for entry in _with_origins(list(entries)):
        name = entry.inputs.dataset.name
        if entry.key in invalidated:
            invalid[name].append((entry, invalidated[entry.key]))
        else:
            measured[name][entry.variant].append(entry)
    for claim in claims:
        claimed[claim.dataset].append(claim)
    return [
        Board(
            name,
            [
                Section(members[0].inputs.dataset, group_rows(members), claimed[name], overlaps)
                for _, members in sorted(measured[name].items(), key=_order)
            ],
            claimed[name],
            invalid[name],
        )
        for name in sorted({*measured, *claimed, *invalid})
    ]
