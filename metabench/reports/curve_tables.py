"""Learning curves as tables, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from metabench.comparison.learning_curves import LearningCurve, panels
from metabench.records.copy_counts import copies_line, marked_name, most
from metabench.registry.metric import Metric
from metabench.reports.rows import Row, csv_text
from metabench.reports.text import score_text, width_text
from metabench.reports.text_table import text_table
from metabench.utils.text import escape, printable

COLUMNS = (
    "dataset", "protocol", "method", "shot", "metric", "score", "ci95", "open95", "gain", "gain95", "episodes", "seeds",
    "keys", "copies",
)  # fmt: skip


def rows(found: Sequence[LearningCurve]) -> list[Row]:
    """Return one row (see `COLUMNS`) for each level; `gain` is over the level before."""
    result = []
    for curve in found:
        gains = [None, *curve.gains()]
        for level, gain in zip(curve.levels, gains, strict=True):
            names = {"dataset": curve.dataset, "protocol": curve.protocol, "method": curve.method}
            names["metric"] = curve.metric.name
            more = {"gain": gain and gain[2], "gain95": gain and gain[3]}
            values = {**vars(level), "keys": list(level.keys)}
            result.append({name: {**names, **values, **more}[name] for name in COLUMNS})
    return result


def to_json(found: Sequence[LearningCurve]) -> str:
    """Return one JSON document ``{"levels": [...]}``."""
    return json.dumps({"levels": rows(found)}, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(found: Sequence[LearningCurve]) -> str:
    """Return the rows as CSV."""
    return csv_text(COLUMNS, [{**row, "keys": " ".join(row["keys"])} for row in rows(found)])


def to_text(found: Sequence[LearningCurve], markdown: bool = False) -> str:
    """Return tables for people: scores by shots, and what more shots buy, for each data set and protocol."""
    clean: Callable[[str], str] = escape if markdown else printable
    blocks, copies = [], dict[str, list[Mapping[str, int]]]()
    for (dataset, protocol, metric), members in panels(found).items():
        counts = [level.copies for curve in members for level in curve.levels]
        copies.setdefault(dataset, []).extend(counts)
        blocks.append(clean(f"{marked_name(dataset, *counts)}, {protocol}: {metric.title}"))
        blocks.append(_scores(members, clean, markdown))
        if any(len(curve.levels) > 1 for curve in members):
            blocks.append(clean(f"What more shots buy ({metric.step})"))
            blocks.append(_gains(members, clean, markdown))
    notes = ["±: 95 % interval over episodes of this test set (with several seeds, for another training too)"]
    if any(level.open95 is not None for curve in found for level in curve.levels):
        notes.append("open ±: 95 % interval for new classes and new examples of the same kind")
    if line := copies_line({dataset: most(counts) for dataset, counts in copies.items()}):
        notes.append(line)
    return "\n\n".join([*blocks, ("\n\n" if markdown else "\n").join(map(clean, notes))])


def _scores(members: Sequence[LearningCurve], clean: Callable[[str], str], markdown: bool) -> str:
    shots = sorted({level.shot for curve in members for level in curve.levels})
    body = []
    for curve in members:
        texts = {
            level.shot: score_text(level.score, level.ci95, level.open95, curve.metric.digits) for level in curve.levels
        }
        body.append([clean(curve.method), *(texts.get(shot, "-") for shot in shots)])
    return _table(["method", *(f"{shot}-shot" for shot in shots)], body, markdown)


def _gains(members: Sequence[LearningCurve], clean: Callable[[str], str], markdown: bool) -> str:
    steps = sorted({(fewer.shot, more.shot) for curve in members for fewer, more, *_ in curve.gains()})
    body = []
    for curve in members:
        texts = {
            (fewer.shot, more.shot): f"{gain:+.{curve.metric.digits}f}" + _width(half, curve.metric)
            for fewer, more, gain, half in curve.gains()
        }
        body.append([clean(curve.method), *(texts.get(step, "-") for step in steps)])
    return _table(["method", *(f"{fewer} to {more}" for fewer, more in steps)], body, markdown)


def _width(half: float | None, metric: Metric) -> str:
    return "" if half is None else f" ± {width_text(half, metric.digits)}"


def _table(header: Sequence[str], body: Sequence[Sequence[str]], markdown: bool) -> str:
    return text_table(header, body, markdown)
