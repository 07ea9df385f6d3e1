"""The results of a sweep as tables, CSV or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metabench.comparison.sweep_results import CandidateResult, best_of
from metabench.planning.sweeps import Sweep
from metabench.registry.metric import ACCURACY, Metric
from metabench.reports.seed_tables import seed_spread
from metabench.reports.text import score_text
from metabench.reports.text_table import Notes, ReportBlock, Table, csv_text, report_text
from metabench.utils.text import pluralise

_NOTES = (
    "±: 95 % interval over episodes of the validation classes; with several seeds, for another training too",
    "rank: one more than the number of combinations that are significantly better (paired, corrected together, 5 %), "
    "never before a better mean; one seed stands for its trained model, several for the combination",
)
JudgedSweeps = Sequence[tuple[Sweep, Sequence[CandidateResult]]]
"""Sweeps with the results of their combinations."""
_OF_THE_TASK = ("algorithm", "backbone", "dataset", "protocol", "way", "shot")


def sweep_text(sweeps: JudgedSweeps, markdown: bool = False) -> str:
    """Return a table for result sweep, with a line that names its best combination."""
    blocks: list[ReportBlock] = []
    for sweep, results in sweeps:
        title = f"{sweep.label}: {pluralise(len(results), 'combination')} on the validation classes"
        blocks += [title, _table(results), _verdict(results)]
    return report_text([*blocks, Notes(_NOTES)], markdown)


def sweep_documents(sweeps: JudgedSweeps) -> list[dict[str, Any]]:
    """Return the sweeps for ``--json``."""
    return [_document(sweep, results) for sweep, results in sweeps]


def sweep_csv(sweeps: JudgedSweeps) -> str:
    """Return CSV: a row for result combination."""
    swept = list(dict.fromkeys(name for _, results in sweeps for one in results for name in one.candidate.settings))
    rows = []
    for document in sweep_documents(sweeps):
        for combination in document["combinations"]:
            row = {name: document[name] for name in _OF_THE_TASK}
            row |= {name: combination["settings"].get(name) for name in swept}
            row |= {name: value for name, value in combination.items() if name not in ("settings", "keys")}
            is_best = combination["settings"] == document["best"]
            rows.append({**row, "best": is_best, "keys": " ".join(combination["keys"])})
    return csv_text(list(rows[0]), rows)


def _document(sweep: Sweep, results: Sequence[CandidateResult]) -> dict[str, Any]:
    run, best = sweep.candidates[0].runs[0], best_of(results)
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
        "combinations": [_combination(result) for result in results],
    }


def _combination(result: CandidateResult) -> dict[str, Any]:
    over = result.over
    closed, opened = _widths(result)
    return {
        "settings": dict(result.candidate.settings),
        "metric": None if over is None else over.metric.name,
        "score": None if over is None else round(over.score, 6),
        "ci95": closed,
        "open95": opened,
        "seeds": len(result.candidate.runs),
        "seed_sd": None if over is None else over.seed_sd,
        "rank": None if result.rank is None else result.rank.place,
        "problem": result.problem,
        "keys": [] if over is None else [record.key for record in over.records],
    }


def _widths(result: CandidateResult) -> tuple[float | None, float | None]:
    if result.over is None:
        return None, None
    if len(result.over.records) > 1:
        return result.over.total95, result.over.total_open95
    summary = result.over.records[0].summary
    return summary.ci95, summary.open95


def _table(results: Sequence[CandidateResult]) -> Table:
    names = list(results[0].candidate.settings)
    several = any(len(result.candidate.runs) > 1 for result in results)
    best = best_of(results)
    metric = next((result.over.metric for result in results if result.over), ACCURACY)
    header = [*names, *(["seeds (sd)"] if several else []), f"validation {metric.title}", "rank", ""]
    rows = []
    for result in results:
        seeds, score = _seeds_and_score(result, metric)
        values = [str(result.candidate.settings[name]) for name in names]
        rank = "-" if result.rank is None else str(result.rank)
        rows.append([*values, *([seeds] if several else []), score, rank, "best" if result is best else ""])
    return Table(header, rows)


def _seeds_and_score(result: CandidateResult, metric: Metric) -> tuple[str, str]:
    """Return the number of seeds with their spread, and the score with its intervals or the reason of the failure."""
    if result.over is None:
        return "-", f"failed: {result.problem}"
    seeds = seed_spread(result.over.seeds, result.over.seed_sd, metric.digits)
    return seeds, score_text(result.over.score, *_widths(result), metric.digits)


def _verdict(results: Sequence[CandidateResult]) -> str:
    best = best_of(results)
    if best is None:
        return "no combination could be measured"
    others = sum(result.rank is not None and result.rank.place == 1 for result in results if result is not best)
    tied = f"; {others} more cannot be told from it" if others else ""
    return f"best: {', '.join(f'{name}={value}' for name, value in best.candidate.settings.items())}{tied}"
