"""What a sweep found, as tables, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from metabench.comparison.sweep_results import CandidateResult, best_of
from metabench.planning.sweeps import Sweep
from metabench.registry.metric import ACCURACY
from metabench.reports.rows import csv_text
from metabench.reports.seed_tables import seeds_text
from metabench.reports.text import score_text
from metabench.reports.text_table import text_table
from metabench.utils.text import counted, escape, printable

_NOTES = (
    "±: 95 % interval over episodes of the validation classes; with several seeds, for another training too",
    "rank: one more than the number of combinations that are significantly better (paired, corrected together, 5 %), "
    "never before a better mean; one seed stands for its trained model, several for the combination",
)
_OF_THE_TASK = ("algorithm", "backbone", "dataset", "protocol", "way", "shot")


def to_text(found: Sequence[tuple[Sweep, Sequence[CandidateResult]]], markdown_form: bool = False) -> str:
    """Return a table for each sweep, with the best combination told."""
    clean = escape if markdown_form else printable
    blocks = []
    for sweep, tried in found:
        blocks += [
            clean(f"{sweep.label}: {counted(len(tried), 'combination')} on the validation classes"),
            _table(tried, clean),
        ]
        blocks.append(clean(_verdict(tried)))
    return "\n\n".join([*blocks, ("\n\n" if markdown_form else "\n").join(map(clean, _NOTES))])


def documents(found: Sequence[tuple[Sweep, Sequence[CandidateResult]]]) -> list[dict[str, Any]]:
    """Return the sweeps for ``--json``."""
    return [_document(sweep, tried) for sweep, tried in found]


def to_csv(found: Sequence[tuple[Sweep, Sequence[CandidateResult]]]) -> str:
    """Return CSV: a row for each combination."""
    swept = list(dict.fromkeys(name for _, tried in found for each in tried for name in each.candidate.settings))
    rows = []
    for document in documents(found):
        for each in document["combinations"]:
            row = {name: document[name] for name in _OF_THE_TASK}
            row |= {name: each["settings"].get(name) for name in swept}
            row |= {name: value for name, value in each.items() if name not in ("settings", "keys")}
            rows.append({**row, "best": each["settings"] == document["best"], "keys": " ".join(each["keys"])})
    return csv_text(list(rows[0]), rows)


def _document(sweep: Sweep, tried: Sequence[CandidateResult]) -> dict[str, Any]:
    run, best = sweep.candidates[0].runs[0], best_of(tried)
    cell = run.protocol.params
    names = (
        run.algorithm.name,
        run.backbone.name,
        run.dataset.name,
        run.protocol.name,
        cell.get("way"),
        cell.get("shot"),
    )
    return {
        **dict(zip(_OF_THE_TASK, names, strict=True)),
        "split": run.split,
        "best": None if best is None else dict(best.candidate.settings),
        "combinations": [_combination(each) for each in tried],
    }


def _combination(each: CandidateResult) -> dict[str, Any]:
    over = each.over
    closed, opened = _widths(each)
    return {
        "settings": dict(each.candidate.settings),
        "metric": None if over is None else over.metric.name,
        "score": None if over is None else round(over.score, 6),
        "ci95": closed,
        "open95": opened,
        "seeds": len(each.candidate.runs),
        "seed_sd": None if over is None else over.seed_sd,
        "rank": None if each.rank is None else each.rank.place,
        "problem": each.problem,
        "keys": [] if over is None else [record.key for record in over.records],
    }


def _widths(each: CandidateResult) -> tuple[float | None, float | None]:
    if each.over is None:
        return None, None
    if len(each.over.records) > 1:
        return each.over.total95, each.over.total_open95
    summary = each.over.records[0].summary
    return summary.ci95, summary.open95


def _table(tried: Sequence[CandidateResult], clean: Callable[[str], str]) -> str:
    names = list(tried[0].candidate.settings)
    several = any(len(each.candidate.runs) > 1 for each in tried)
    best = best_of(tried)
    metric = next((each.over.metric for each in tried if each.over), ACCURACY)
    header = [*names, *(["seeds (sd)"] if several else []), f"validation {metric.title}", "rank", ""]
    body = []
    for each in tried:
        cells = [str(each.candidate.settings[name]) for name in names]
        cells += (
            [seeds_text(each.over.seeds, each.over.seed_sd, metric.digits) if each.over else "-"] if several else []
        )
        text = score_text(each.over.score, *_widths(each), metric.digits) if each.over else f"failed: {each.problem}"
        cells += [text, "-" if each.rank is None else str(each.rank), "best" if each is best else ""]
        body.append([clean(cell) for cell in cells])
    return text_table([clean(name) for name in header], body, clean is escape)


def _verdict(tried: Sequence[CandidateResult]) -> str:
    best = best_of(tried)
    if best is None:
        return "no combination could be measured"
    others = sum(each.rank is not None and each.rank.place == 1 for each in tried if each is not best)
    tied = f"; {others} more cannot be told from it" if others else ""
    return f"best: {', '.join(f'{name}={value}' for name, value in best.candidate.settings.items())}{tied}"
