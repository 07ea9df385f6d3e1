"""The tables of the HTML page as plain texts; its templates put them into elements and escape them."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from metabench.leaderboard import page_text
from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.entries import Column, Entry
from metabench.leaderboard.published import Published
from metabench.leaderboard.rows import BoardRow, CellResult
from metabench.registry.metric import ACCURACY
from metabench.reports.text import score_text, width_text
from metabench.statistics.tied_ranks import rank_text


class Head(NamedTuple):
    """The head of a column; `order` is ``ascending``, ``descending`` or '' for a column that the rows are not in."""

    title: str
    type: str = "text"
    is_score: bool = False
    order: str = ""


class Link(NamedTuple):
    """A text that leads to a record's file."""

    text: str
    href: str


class Claim(NamedTuple):
    """A published value with its distance; `mark` is '' where the distance is within its interval."""

    text: str
    mark: str


@dataclass(frozen=True)
class MeasuredValue:
    """A cell of the table of measured values.

    Attributes:
        order: the number by which the cell is sorted; '' without a rank.
        width: the half-width with its ±; '' without one.
        notes: lines of small print.
        seeds: one link for each of several training seeds.
    """

    order: str
    rank: str
    is_first: bool
    score: Link
    width: str
    notes: Sequence[str]
    seeds: Sequence[Link]
    claim: Claim | None


@dataclass(frozen=True)
class MeasuredRow:
    """A row of the table of measured values.

    Attributes:
        values: a cell for each column; None where nothing was measured.
        overlap: what pre-training and test classes have in common.
        params, statistics, backbone_notes, episode_notes: lines of small print.
    """

    name: str
    is_floor: bool
    mark: str
    params: Sequence[str]
    values: Sequence[MeasuredValue | None]
    setting: str
    statistics: Sequence[str]
    backbone: str
    backbone_notes: Sequence[str]
    overlap: str
    is_overlap_doubtful: bool
    seeds: str
    training: str
    episodes: str
    episode_count: int
    episode_notes: Sequence[str]


class ClaimedRow(NamedTuple):
    """A row of published values; '' where a source has no value for a column."""

    algorithm: str
    backbone: str
    kind: str
    values: Sequence[str]
    source: str


@dataclass(frozen=True)
class ClaimedTable:
    """All published values of a dataset; `count` is their number."""

    columns: Sequence[str]
    rows: Sequence[ClaimedRow]
    count: int


class InvalidRow(NamedTuple):
    """A record that counts no more."""

    algorithm: str
    column: str
    score: Link
    date: datetime.date
    reason: str


def measured_heads(section: Section) -> list[Head]:
    """Return the heads of the table of measured values; its rows are sorted by the first score."""
    order = "descending" if section.cells[0].metric.higher_is_better else "ascending"
    scores = [
        Head(section.title_of(column), "number", is_score=True, order="" if index else order)
        for index, column in enumerate(section.cells)
    ]
    others = [Head(title) for title in ("Setting", "Backbone", "Seeds", "Training")]
    return [Head("Algorithm"), *scores, *others, Head("Episodes", "number")]


def measured_caption(section: Section, name: str) -> str:
    """Return the caption of the table of measured values of the dataset `name`."""
    metrics = {column.metric.name for column in section.cells}
    return f"{name}: {metrics.pop() if len(metrics) == 1 else 'score'} by algorithm"


def measured_row(section: Section, row: BoardRow, prefix: str) -> MeasuredRow:
    """Return a row of measured values; `prefix` leads to the folder of the leaderboard."""
    inputs = row.first.inputs
    name, *params = page_text.named(inputs.algorithm).split("\n")
    backbone, *backbone_params = page_text.named(inputs.backbone).split("\n")
    trained_on, _, overlap = page_text.pre_training_text(section, row).partition("\n")
    overlap_mark = page_text.mark(section, row)
    protocols = [protocol.replace("\n", ", ") for protocol in page_text.protocols(row)]
    precision = "" if inputs.precision == "float32" else inputs.precision
    return MeasuredRow(
        name=name,
        is_floor=row.floor,
        mark=overlap_mark + page_text.copy_mark(section, row),
        params=params,
        values=[_value(section, row, column, prefix) for column in section.cells],
        setting=row.setting,
        statistics=[page_text.statistics(row)],
        backbone=backbone,
        backbone_notes=[*backbone_params, trained_on],
        overlap=overlap,
        is_overlap_doubtful=bool(overlap_mark),
        seeds=page_text.seeds(section, row),
        training=page_text.training(row),
        episodes=page_text.episodes(row),
        episode_count=max(len(entry.record.measured) for entry in row.entries),
        episode_notes=[*protocols, precision],
    )


def claimed_table(board: Board) -> ClaimedTable | None:
    """Return the published values of a dataset; None without any."""
    if not board.claims:
        return None
    columns = sorted({claim.cell for claim in board.claims})
    texts: dict[tuple[str, str, str, str], dict[Column, str]] = defaultdict(dict)
    for claim in board.claims:
        texts[claim.algorithm, claim.backbone, claim.kind, claim.source][claim.cell] = claim.text
    rows = [
        ClaimedRow(algorithm, backbone, kind, [values.get(column, "") for column in columns], source)
        for (algorithm, backbone, kind, source), values in sorted(texts.items())
    ]
    return ClaimedTable([column.full_title for column in columns], rows, len(board.claims))


def invalid_rows(board: Board, prefix: str) -> list[InvalidRow]:
    """Return the records of a dataset that are in its folder and count no more."""
    rows = []
    for entry, item in board.invalid:
        half, digits = entry.record.summary.ci95, entry.cell.metric.digits
        score = _link(entry, score_text(entry.record.score, half, digits=digits), prefix)
        name = page_text.short(page_text.named(entry.inputs.algorithm))
        rows.append(InvalidRow(name, entry.cell.title, score, item.date, item.reason))
    return rows


def invalid_score_title(board: Board) -> str:
    """Return the head above the scores of invalidated records, which may be of several metrics."""
    return "Accuracy" if {entry.cell.metric for entry, _ in board.invalid} == {ACCURACY} else "Score"


def _value(section: Section, row: BoardRow, column: Column, prefix: str) -> MeasuredValue | None:
    result = row.cells.get(column)
    if result is None:
        return None
    rank, digits = section.ranks[row.identity, column], column.metric.digits
    opened = [] if result.open95 is None else [f"open ± {width_text(result.open95, digits)}"]
    several = result.entries if len(result.entries) > 1 else ()
    claim = section.claim(row, column)
    return MeasuredValue(
        order="" if rank is None else f"{result.score:.6f}",
        rank=rank_text(rank),
        is_first=rank is not None and rank.place == 1,
        score=_link(result.entries[0], f"{result.score:.{digits}f}", prefix),
        width="" if result.ci95 is None else f" ± {width_text(result.ci95, digits)}",
        notes=[*opened, *page_text.remarks(result)],
        seeds=[_link(entry, str(entry.seed), prefix) for entry in several],
        claim=None if claim is None else _claim(claim, result),
    )


def _claim(claim: Published, result: CellResult) -> Claim:
    distance, _, mark = page_text.claim_gap(claim, result).replace("-", "\u2212").partition(" ")
    return Claim(f"paper {claim.text}, {distance}", mark)


def _link(entry: Entry, text: str, prefix: str) -> Link:
    return Link(text, f"{quote(prefix)}records/{quote(entry.file)}")
