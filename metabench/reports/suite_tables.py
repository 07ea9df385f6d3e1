"""The report of a suite as a terminal table, Markdown, CSV or JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from metabench.comparison.suite_report import Cell, Line, Report
from metabench.planning.suites import Suite
from metabench.records.copy_counts import MARK, copies_line, most
from metabench.registry.metric import ACCURACY, Metric
from metabench.reports.rows import TableRow
from metabench.reports.score_text import score_text
from metabench.reports.text_table import Notes, ReportBlock, Table, csv_text, json_text, report_text

_MAX_CELLS_BESIDE_MEANS = 4  # more get a table for each dataset
_NOTES = (
    "±: 95 % interval over episodes of these test sets; of several seeds, for another training too",
    "rank: one more than the number of algorithms that are significantly better in the mean (paired by episode where "
    "the episodes are the same, all pairs corrected together, 5 %), never before a better mean; = shared; one seed "
    "stands for its trained model, several for the method; - a cell of a single episode",
)


def suite_text(suite: Suite, report: Report, markdown: bool = False) -> str:
    """Return the report for people: standings, cells, reasons for missing cells, and the meaning of the numbers."""
    cells = report.cells if len(report.cells) <= _MAX_CELLS_BESIDE_MEANS else ()
    blocks: list[ReportBlock] = [f"{suite.id}: {suite.summary}", _standings(report, cells)]
    if not cells:
        measured = [cell for cell in report.cells if any(cell.key in line.results for line in report.lines)]
        for dataset, group in _by_dataset(measured).items():
            blocks.append(_cell_table(report.lines, dataset, group))
    notes = [*_coverage(report), *_problems(report), *_copies(report), *_NOTES]
    return report_text([*blocks, Notes(notes)], markdown)


def suite_json(suite: Suite, report: Report, rows: Sequence[TableRow], seeds: Sequence[TableRow]) -> str:
    """Return one JSON document: the suite, its standings, and the runs as ``metabench run --json`` has them."""
    return json_text({
        "suite": {**suite.provenance(), "cells": [_cell_name(cell) for cell in report.cells]},
        "common": [_cell_name(cell) for cell in report.common],
        "standings": [_line_document(report, line) for line in report.lines],
        "rows": list(rows),
        "seeds": list(seeds),
    })  # fmt: skip


def suite_csv(report: Report) -> str:
    """Return the standings as CSV: a row for each algorithm, accuracy and half-width of every cell as columns."""
    rows = []
    for line in report.lines:
        row: dict[str, Any] = {"rank": None if line.rank is None else line.rank.place, "algorithm": line.method}
        row |= {"mean": line.mean, "ci95": line.ci95, "cells": len(line.results)}
        for cell in report.cells:
            result = line.results.get(cell.key)
            row[_cell_name(cell)] = None if result is None else result.score
            row[f"{_cell_name(cell)} ci95"] = None if result is None else result.ci95
        rows.append(row)
    return csv_text(list(rows[0]), rows)


def _standings(report: Report, cells: Sequence[Cell]) -> Table:
    same_dataset = len({cell.dataset for cell in cells}) == 1
    metric = _metric(report)
    header = [
        "rank",
        "algorithm",
        f"mean ({metric.unit or metric.name})",
        "cells",
        *(cell.protocol if same_dataset else _cell_name(cell) for cell in cells),
    ]
    rows = [
        [
            "-" if line.rank is None else str(line.rank),
            line.method,
            "-" if line.mean is None else score_text(line.mean, line.ci95, digits=metric.digits),
            f"{len(line.results)} of {len(report.cells)}",
            *(_result(line, cell) for cell in cells),
        ]
        for line in report.lines
    ]
    return Table(header, rows)


def _metric(report: Report) -> Metric:
    """Return the metric of the means."""
    cells = ((line, cell) for line in report.lines for cell in report.common)
    metrics = (line.results[cell.key].metric for line, cell in cells if cell.key in line.results)
    return next(metrics, ACCURACY)


def _cell_table(lines: Sequence[Line], dataset: str, cells: Sequence[Cell]) -> Table:
    rows = [[line.method, *(_result(line, cell) for cell in cells)] for line in lines]
    return Table([dataset, *(cell.protocol for cell in cells)], rows)


def _result(line: Line, cell: Cell) -> str:
    result = line.results.get(cell.key)
    if result is None:
        return "-"
    metric = result.metric
    unit = "" if metric == ACCURACY else f" {metric.title}"
    text = score_text(result.score, result.ci95, digits=metric.digits) + unit
    return text + "*" * (cell.key in line.problems) + f" {MARK}" * bool(result.copies)


def _coverage(report: Report) -> list[str]:
    if len(report.common) == len(report.cells):
        return []
    if not report.common:
        return ["no cells, or cells of different metrics, are measured with every algorithm: there are no ranks"]
    names = ", ".join(map(_cell_name, report.common))
    return [f"mean and rank are over {len(report.common)} of {len(report.cells)} cells: {names}"]


def _problems(report: Report) -> list[str]:
    """Return a line for each reason why cells are not measured, with the algorithms and datasets concerned."""
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in report.lines:
        for cell in report.cells:
            if why := line.problems.get(cell.key):
                reasons[why][cell.dataset].append(line.method)
    return [
        f"* not measured, {dataset} with {', '.join(dict.fromkeys(methods))}: {why}"
        for why, by_dataset in reasons.items()
        for dataset, methods in by_dataset.items()
    ]


def _copies(report: Report) -> list[str]:
    """Return the line that says how many copies the data of the cells hold, if any."""
    counts: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for cell in report.cells:
        counts[cell.dataset] += [line.results[cell.key].copies for line in report.lines if cell.key in line.results]
    line = copies_line({dataset: most(of_cells) for dataset, of_cells in counts.items()})
    return [line] if line else []


def _line_document(report: Report, line: Line) -> dict[str, Any]:
    cells = []
    for cell in report.cells:
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
