"""The pictures of a leaderboard section, each only where it has something to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metabench.leaderboard import page_text
from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.entries import Column
from metabench.leaderboard.row_labels import row_labels
from metabench.leaderboard.rows import BoardRow, CellResult
from metabench.plotting.dot_plot import UNBOUNDED, WIDTH, Dot, dot_plot
from metabench.plotting.line_plot import Curve, curves
from metabench.plotting.rank_diagram import rank_diagram
from metabench.plotting.scatter_plot import Point, scatter
from metabench.plotting.svg import Picture
from metabench.reports.score_text import score_text
from metabench.statistics.dataset_ranking import critical_difference, mean_ranks
from metabench.statistics.tied_ranks import rank_text

MOST_DOTS, MOST_CURVES, MOST_RANKED = 30, 10, 12
LEAST_DATASETS = 5
"""Datasets that a diagram across datasets needs: with fewer, no difference is critical."""
_PERCENT = (0.0, 100.0)


def dot_plots(section: Section, width: float = WIDTH) -> list[Picture]:
    """Return a dot plot, `width` pixels wide, for each column with at least two rows."""
    pictures = []
    for cell in section.cells:
        rows = _best(section.rows, cell)
        if len(rows) > 1:
            shown = _some(rows, MOST_DOTS)
            labels = row_labels(section.rows, (cell,))
            more = f", the best {len(shown)} of {len(rows)} rows" if len(shown) < len(rows) else ""
            dots = [_dot(section, row, cell, labels[row.identity]) for row in shown]
            bounds = _PERCENT if cell.metric.unit == "%" else UNBOUNDED
            axis, digits = cell.metric.axis, cell.metric.digits
            title = f"{section.title_of(cell)}{more}"
            pictures.append(dot_plot(dots, title, axis, bounds=bounds, width=width, digits=digits))
    return pictures


def shot_curves(section: Section) -> list[Picture]:
    """Return scores over shots for each way (and protocol of its own) that has more than one."""
    pictures = []
    for kind in sorted({_kind(cell) for cell in section.cells if cell.shot}):
        cells = [cell for cell in section.cells if _kind(cell) == kind and cell.shot]
        rows = [row for row in section.rows if sum(cell in row.cells for cell in cells) > 1]
        if rows:
            labels = row_labels(section.rows, cells)
            drawn = [_curve(row, cells, labels[row.identity]) for row in _some(rows, MOST_CURVES)]
            more = f", the best {len(drawn)} of {len(rows)} rows" if len(drawn) < len(rows) else ""
            pictures.append(curves(drawn, f"{_kind_title(section, cells[0])}{more}", "shots", cells[0].metric.axis))
    return pictures


def costs(section: Section) -> list[Picture]:
    """Return scores over time per episode for each column where at least two rows have both."""
    pictures = []
    for cell in section.cells:
        labels = row_labels(section.rows, (cell,))
        points = [
            Point(labels[row.identity], cost, row.cells[cell].score, tip=_tip(labels[row.identity], row.cells[cell]))
            for row in section.rows
            if not row.floor and cell in row.cells and (cost := _milliseconds(row.cells[cell])) is not None
        ]
        if len(points) > 1:
            pictures.append(scatter(points, section.title_of(cell), "milliseconds per episode", cell.metric.axis))
    return pictures


def ranked_by_episodes(section: Section) -> list[Picture]:
    """Return a critical-difference diagram over episodes for each column with three paired rows or more.

    Episodes are drawn independently, so they can be the blocks of Friedman's and Nemenyi's tests.
    """
    pictures = []
    for cell in section.cells:
        rows = _paired(_best(section.rows, cell), cell)[:MOST_RANKED]
        if len(rows) > 2 and rows[0].cells[cell].is_rankable:
            labels = row_labels(section.rows, (cell,))
            scores = np.stack([row.cells[cell].merits for row in rows])
            pictures.append(_cd_diagram([labels[row.identity] for row in rows], scores, section.title_of(cell)))
    return pictures


def ranked_by_datasets(boards: Iterable[Board]) -> Picture | None:
    """Return one diagram across datasets, of the rows that are measured on all of them, if there are enough.

    A row is the same on two datasets if algorithm, backbone and their parameters are. A dataset counts
    once, whatever the number of its columns: by the mean score of the rows that have them all.
    """
    blocks = [block for board in boards if board.sections and (block := _means(board.sections[0]))]
    common = sorted(set.intersection(*map(set, blocks))) if blocks else []
    if len(blocks) < LEAST_DATASETS or len(common) < 3:
        return None
    common.sort(key=lambda name: -sum(block[name] for block in blocks))
    scores = np.array([[block[name] for block in blocks] for name in common[:MOST_RANKED]])
    return _cd_diagram(common[:MOST_RANKED], scores, f"{len(blocks)} datasets")


def _kind(cell: Column) -> Column:
    """Return the column without its shots: the same for all points of a curve."""
    return replace(cell, shot=0)


def _kind_title(section: Section, cell: Column) -> str:
    return ", ".join(filter(None, [_kind(cell).title, section.apart(cell)]))


def _means(section: Section) -> dict[str, float]:
    """Return the mean merit over all columns of every row that has them all, by its name; {} if metrics differ."""
    if len({cell.metric for cell in section.cells}) > 1:
        return {}
    means: dict[str, float] = {}
    for row in (row for row in section.rows if len(row.cells) == len(section.cells)):
        inputs = row.first.inputs
        parts = [page_text.named(plugin).replace("\n", " ") for plugin in (inputs.algorithm, inputs.backbone)]
        means.setdefault(", ".join(parts), float(np.mean([result.merit for result in row.cells.values()])))
    return means


def _cd_diagram(labels: Sequence[str], scores: NDArray[np.float64], title: str) -> Picture:
    """Return the diagram of scores, shape (rows, blocks), ranked within each block."""
    ranks = dict(zip(labels, mean_ranks(scores.T).tolist(), strict=True))
    return rank_diagram(ranks, critical_difference(*scores.shape), title)


def _best(rows: Sequence[BoardRow], cell: Column) -> list[BoardRow]:
    return sorted((row for row in rows if cell in row.cells), key=lambda row: -row.cells[cell].merit)


def _some(rows: Sequence[BoardRow], most: int) -> list[BoardRow]:
    """Return the best rows, and the best floor if it is not among them."""
    shown = list(rows[:most])
    floors = [row for row in rows[most:] if row.floor]
    return shown[: most - 1] + floors[:1] if floors and not any(row.floor for row in shown) else shown


def _paired(rows: Sequence[BoardRow], cell: Column) -> list[BoardRow]:
    """Return the rows that met the same episodes: the largest such group, in the order given."""
    digests = [(row.cells[cell].digest, len(row.cells[cell].merits)) for row in rows]
    known = [digest for digest in digests if digest[0]]
    most = max(known, key=known.count, default=None)
    return [row for row, digest in zip(rows, digests, strict=True) if digest == most]


def _dot(section: Section, row: BoardRow, cell: Column, name: str) -> Dot:
    result, claim = row.cells[cell], section.claim(row, cell)
    remark = f"rank {rank_text(section.ranks[row.identity, cell])}"
    return Dot(
        name,
        result.score,
        result.ci95,
        result.open95,
        claim.accuracy if claim else None,
        claim.margin if claim else 0.0,
        row.floor,
        remark,
        f"{_tip(name, result)}, {remark}" + (f"; paper {claim.text}" if claim else ""),
    )


def _curve(row: BoardRow, cells: Sequence[Column], name: str) -> Curve:
    points = {float(cell.shot): (row.cells[cell].score, row.cells[cell].ci95) for cell in cells if cell in row.cells}
    return Curve(name, points, row.floor)


def _tip(name: str, result: CellResult) -> str:
    return f"{name}: {score_text(result.score, result.ci95, digits=result.metric.digits)}"


def _milliseconds(result: CellResult) -> float | None:
    """Return the time per episode (embedding and scoring) by the records, the median over seeds; None if unknown."""
    speeds = [entry.record.cost.episodes_per_second for entry in result.entries]
    known = [1000.0 / speed for speed in speeds if speed is not None and 0 < speed < 1e12]
    return float(np.median(known)) if known else None
