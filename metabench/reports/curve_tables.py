"""Learning curves as tables, CSV and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metabench.comparison.learning_curves import LearningCurve, panels
from metabench.records.copy_counts import copies_line, copies_words, marked_name, most
from metabench.registry.metric import Metric
from metabench.reports.rows import TableRow
from metabench.reports.score_text import score_text, width_text
from metabench.reports.text_table import Notes, ReportBlock, Table, csv_text, json_text, report_text

_COLUMNS = (
    "dataset", "protocol", "method", "shot", "metric", "score", "ci95", "open95", "gain", "gain95", "episodes", "seeds",
    "keys", "copies",
)  # fmt: skip


def curve_rows(curves: Sequence[LearningCurve]) -> list[TableRow]:
    """Return one row (see `_COLUMNS`) for each level; `gain` is over the level before."""
    rows = []
    for curve in curves:
        gains = [None, *curve.gains()]
        for level, gain in zip(curve.levels, gains, strict=True):
            names = {"dataset": curve.dataset, "protocol": curve.protocol, "method": curve.method}
            names["metric"] = curve.metric.name
            more = {"gain": gain and gain[2], "gain95": gain and gain[3]}
            values = {**vars(level), "keys": list(level.keys)}
            rows.append({name: {**names, **values, **more}[name] for name in _COLUMNS})
    return rows


def curve_json(curves: Sequence[LearningCurve]) -> str:
    """Return one JSON document ``{"levels": [...]}``."""
    return json_text({"levels": curve_rows(curves)})


def curve_csv(curves: Sequence[LearningCurve]) -> str:
    """Return the rows as CSV."""
    plain = [
        {**row, "keys": " ".join(row["keys"]), "copies": copies_words(row["copies"])} for row in curve_rows(curves)
    ]
    return csv_text(_COLUMNS, plain)


def curve_text(curves: Sequence[LearningCurve], markdown: bool = False) -> str:
    """Return tables for people: scores by shots, and the gain of more shots, for each dataset and protocol."""
    blocks: list[ReportBlock] = []
    copies = dict[str, list[Mapping[str, int]]]()
    for (dataset, protocol, metric), members in panels(curves).items():
        counts = [level.copies for curve in members for level in curve.levels]
        copies.setdefault(dataset, []).extend(counts)
        blocks += [f"{marked_name(dataset, *counts)}, {protocol}: {metric.title}", _scores(members)]
        if any(len(curve.levels) > 1 for curve in members):
            blocks += [f"Gain from more shots ({metric.step})", _gains(members)]
    notes = ["±: 95 % interval over episodes of this test set (with several seeds, for another training too)"]
    if any(level.open95 is not None for curve in curves for level in curve.levels):
        notes.append("open ±: 95 % interval for new classes and new examples of the same kind")
    if line := copies_line({dataset: most(counts) for dataset, counts in copies.items()}):
        notes.append(line)
    return report_text([*blocks, Notes(notes)], markdown)


def _scores(members: Sequence[LearningCurve]) -> Table:
    shots = sorted({level.shot for curve in members for level in curve.levels})
    rows = []
    for curve in members:
        texts = {
            level.shot: score_text(level.score, level.ci95, level.open95, curve.metric.digits) for level in curve.levels
        }
        rows.append([curve.method, *(texts.get(shot, "-") for shot in shots)])
    return Table(["method", *(f"{shot}-shot" for shot in shots)], rows)


def _gains(members: Sequence[LearningCurve]) -> Table:
    steps = sorted({(fewer.shot, more.shot) for curve in members for fewer, more, *_ in curve.gains()})
    rows = []
    for curve in members:
        texts = {
            (fewer.shot, more.shot): f"{gain:+.{curve.metric.digits}f}" + _width(half, curve.metric)
            for fewer, more, gain, half in curve.gains()
        }
        rows.append([curve.method, *(texts.get(step, "-") for step in steps)])
    return Table(["method", *(f"{fewer} to {more}" for fewer, more in steps)], rows)


def _width(half: float | None, metric: Metric) -> str:
    return "" if half is None else f" ± {width_text(half, metric.digits)}"
