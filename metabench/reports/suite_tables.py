"""The report of a suite as a terminal table, Markdown, CSV or JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metabench.comparison.suite_report import Cell, Line, Report
from metabench.planning.suites import Suite
from metabench.records.copy_counts import MARK, copies_line, most
from metabench.registry.metric import ACCURACY, Metric
from metabench.reports.rows import Row, csv_text
from metabench.reports.text import score_text
from metabench.reports.text_table import text_table
from metabench.utils.text import escape, printable

_MOST_BESIDE = 4  # cells beside the means; more get a table for each data set
_NOTES = (
    "±: 95 % interval over episodes of these test sets; of several seeds, for another training too",
    "rank: one more than the number of algorithms that are significantly better in the mean (paired by episode where "
    "the episodes are the same, all pairs corrected together, 5 %), never before a better mean; = shared; one seed "
    "stands for its trained model, several for the method; - a cell of a single episode",
)


def to_text(suite: Suite, found: Report, markdown_form: bool = False) -> str:
    """Return the report for people: standings, cells, what is missing and why, and what the numbers are."""
    clean = escape if markdown_form else printable
    cells = found.cells if len(found.cells) <= _MOST_BESIDE else ()
    blocks = [clean(f"{suite.id}: {suite.summary}"), _table(_standings(found, cells), clean)]
    if not cells:
        measured = [cell for cell in found.cells if any(cell.key in line.results for line in found.lines)]
        for dataset, group in _by_dataset(measured).items():
            blocks.append(_table(_cell_table(found.lines, dataset, group), clean))
    lines = [*_coverage(found), *_problems(found), *_copies(found), *_NOTES]
    return "\n\n".join([*blocks, ("\n\n" if markdown_form else "\n").join(map(clean, lines))])


def to_json(suite: Suite, found: Report, rows: Sequence[Row], seeds: Sequence[Row]) -> str:
    """Return one JSON document: the suite, its standings, and the runs as ``metabench run --json`` has them."""
    document = {
        "suite": {**suite.provenance(), "cells": [_cell_name(cell) for cell in found.cells]},
        "common": [_cell_name(cell) for cell in found.common],
        "standings": [_line_document(found, line) for line in found.lines],
        "rows": list(rows),
        "seeds": list(seeds),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str)


def to_csv(found: Report) -> str:
    """Return the standings as CSV: a row for each algorithm, accuracy and half-width of every cell as columns."""
    rows = []
    for line in found.lines:
        row: dict[str, Any] = {"rank": None if line.rank is None else line.rank.place, "algorithm": line.method}
        row |= {"mean": line.mean, "ci95": line.ci95, "cells": len(line.results)}
        for cell in found.cells:
            result = line.results.get(cell.key)
            row[_cell_name(cell)] = None if result is None else result.score
            row[f"{_cell_name(cell)} ci95"] = None if result is None else result.ci95
        rows.append(row)
    return csv_text(list(rows[0]), rows)


def _standings(found: Report, cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    one = len({cell.dataset for cell in cells}) == 1
    metric = _metric(found)
    header = [
        "rank",
        "algorithm",
        f"mean ({metric.unit or metric.name})",
        "cells",
        *(cell.protocol if one else _cell_name(cell) for cell in cells),
    ]
    body = [
        [
            "-" if line.rank is None else str(line.rank),
            line.method,
            "-" if line.mean is None else score_text(line.mean, line.ci95, digits=metric.digits),
            f"{len(line.results)} of {len(found.cells)}",
            *(_result(line, cell) for cell in cells),
        ]
        for line in found.lines
    ]
    return header, body


def _metric(found: Report) -> Metric:
    """The metric of the means."""
    cells = ((line, cell) for line in found.lines for cell in found.common)
    metrics = (line.results[cell.key].metric for line, cell in cells if cell.key in line.results)
    return next(metrics, ACCURACY)


def _cell_table(lines: Sequence[Line], dataset: str, cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    body = [[line.method, *(_result(line, cell) for cell in cells)] for line in lines]
    return [dataset, *(cell.protocol for cell in cells)], body


def _result(line: Line, cell: Cell) -> str:
    result = line.results.get(cell.key)
    if result is None:
        return "-"
    metric = result.metric
    unit = "" if metric == ACCURACY else f" {metric.title}"
    text = score_text(result.score, result.ci95, digits=metric.digits) + unit
    return text + "*" * (cell.key in line.problems) + f" {MARK}" * bool(result.copies)


def _coverage(found: Report) -> list[str]:
    if len(found.common) == len(found.cells):
        return []
    if not found.common:
        return ["no cells, or cells of different metrics, are measured with every algorithm: there are no ranks"]
    names = ", ".join(map(_cell_name, found.common))
    return [f"mean and rank are over {len(found.common)} of {len(found.cells)} cells: {names}"]


def _problems(found: Report) -> list[str]:
    """What is not measured, each reason once, with the algorithms and cells that it stopped."""
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in found.lines:
        for cell in found.cells:
            if why := line.problems.get(cell.key):
                reasons[why][cell.dataset].append(line.method)
    return [
        f"* not measured, {dataset} with {', '.join(dict.fromkeys(methods))}: {why}"
        for why, by_dataset in reasons.items()
        for dataset, methods in by_dataset.items()
    ]


def _copies(found: Report) -> list[str]:
    """Say how many copies the data of the cells hold."""
    counts: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for cell in found.cells:
        counts[cell.dataset] += [line.results[cell.key].copies for line in found.lines if cell.key in line.results]
    line = copies_line({dataset: most(of_cells) for dataset, of_cells in counts.items()})
    return [line] if line else []


def _line_document(found: Report, line: Line) -> dict[str, Any]:
    cells = []
    for cell in found.cells:
        result, problem = line.results.get(cell.key), line.problems.get(cell.key, "")
        names = ("score", "ci95", "open95", "keys")
        known = dict.fromkeys(names) if result is None else {name: getattr(result, name) for name in names}
        metric = None if result is None else result.metric.name
        cells.append(
            {"dataset": cell.dataset, "protocol": cell.protocol, "metric": metric, **known, "problem": problem}
        )
    rank = None if line.rank is None else {"place": line.rank.place, "shared": line.rank.shared}
    return {"algorithm": line.method, "rank": rank, "mean": line.mean, "ci95": line.ci95, "cells": cells}


def _by_dataset(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.dataset].append(cell)
    return groups


def _cell_name(cell: Cell) -> str:
    return f"{cell.dataset} {cell.protocol}"


def _table(table: tuple[list[str], list[list[str]]], clean: Callable[[str], str]) -> str:
    header, body = table
    rows = [[clean(text) for text in row] for row in body]
    return text_table([clean(text) for text in header], rows, clean is escape)
