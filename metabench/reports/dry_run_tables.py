"""The output of ``--dry-run``: every run of a plan, its state, and the time it takes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from metabench.planning.folder_labels import folder_labels
from metabench.planning.forecast import NOT_MADE, RunForecast
from metabench.registry.stage import chain_settings
from metabench.reports.score_text import params_text
from metabench.reports.text_table import Notes, Table, json_text, report_text

_ALWAYS = ("algorithm", "dataset", "way", "shot")
_IF_NEEDED = (
    "params",
    "backbone",
    "backbone_params",
    "dataset_params",
    "trained_on",
    "split",
    "protocol",
    "query",
    "training",
    "seed",
)
_HEADER = {"dataset_params": "data", "trained_on": "trained on"}
_OF_THE_CELL = ("way", "shot", "query", "validation_way", "validation_query")


def dry_run_json(forecasts: Sequence[RunForecast]) -> str:
    """Return one JSON document ``{"runs": [...], "seconds": ..., "unknown": ...}``."""
    return json_text({"runs": _rows(forecasts), **_total(forecasts)})


def dry_run_text(forecasts: Sequence[RunForecast], markdown: bool = False) -> str:
    """Return a table of the runs, the number in each state, the time, the downloads, and the runs that are rejected."""
    datasets = folder_labels([forecast.run.dataset for forecast in forecasts])
    rows = [{**row, "dataset": name} for row, name in zip(_rows(forecasts), datasets, strict=True)]
    names = [*_ALWAYS, *(name for name in _IF_NEEDED if _is_distinguishing(name, rows))]
    cells = []
    for row, forecast in zip(rows, forecasts, strict=True):
        values = ("-" if row[name] is None else str(row[name]) for name in names)
        cells.append([*values, _state(forecast), duration(forecast.seconds)])
    header = [*(_HEADER.get(name, name) for name in names), "state", "time"]
    notes = [_counts(forecasts), *_chains(forecasts), *_downloads(forecasts), *_not_made(forecasts)]
    return report_text([Table(header, cells, plain_header=True), Notes(notes)], markdown)


def duration(seconds: float | None) -> str:
    """Return a time in words.

    >>> [duration(t) for t in (None, 0.0, 0.4, 59, 600, 9000)]
    ['unknown', '-', '<1 s', '59 s', '10 min', '2.5 h']
    """
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "<1 s" if seconds else "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _is_distinguishing(name: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether runs that are alike in the columns that are always shown differ in `name`."""
    values: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        values[tuple(str(row[always]) for always in _ALWAYS)].add(str(row[name]))
    return any(len(different) > 1 for different in values.values())


def _state(forecast: RunForecast) -> str:
    return f"{forecast.state}: {forecast.detail}" if forecast.state == "partial" else forecast.state


def _total(forecasts: Sequence[RunForecast]) -> dict[str, Any]:
    """Return the seconds of all runs that can be made, and the number of those whose time is unknown."""
    possible = [forecast for forecast in forecasts if forecast.state not in NOT_MADE]
    seconds = sum(forecast.seconds or 0.0 for forecast in possible)
    return {"seconds": round(seconds, 1), "unknown": sum(forecast.seconds is None for forecast in possible)}


def _counts(forecasts: Sequence[RunForecast]) -> str:
    counts = Counter(forecast.state for forecast in forecasts)
    total = _total(forecasts)
    time = "nothing to measure" if counts["cached"] == len(forecasts) else duration(total["seconds"])
    if total["unknown"]:
        known = f"{time} and " if total["seconds"] else ""
        time = f"{known}an unknown time for {total['unknown']} (nothing like them was measured here)"
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(forecasts)} run{'s' if len(forecasts) != 1 else ''}: {states}; {time}"


def _chains(forecasts: Sequence[RunForecast]) -> list[str]:
    """Return one line for each training of several stages, or of classes: what each stage is, and what is cached."""
    lines = {
        f"{forecast.run.algorithm.name}: {'; '.join(map(str, forecast.stages))}": None
        for forecast in forecasts
        if len(forecast.stages) > 1 or any(not stage.stage.is_episodic for stage in forecast.stages)
    }
    return list(lines)


def _downloads(forecasts: Sequence[RunForecast]) -> list[str]:
    counts = Counter(line for forecast in forecasts for line in forecast.downloads)
    return [f"before {count} run{'s' if count > 1 else ''}: {line}" for line, count in counts.items()]


def _not_made(forecasts: Sequence[RunForecast]) -> list[str]:
    reasons = Counter((forecast.state, forecast.detail) for forecast in forecasts if forecast.state in NOT_MADE)
    return [f"{state} for {count} run{'s' if count > 1 else ''}: {why}" for (state, why), count in reasons.items()]


def _rows(forecasts: Sequence[RunForecast]) -> list[dict[str, Any]]:
    """Return the runs as rows; ``training`` holds the settings in which their recipes differ."""
    chains = [forecast.run.stages for forecast in forecasts]
    recipes = [chain_settings([stage.inputs() for stage in chain]) if chain else {} for chain in chains]
    names = [name for recipe in recipes for name in recipe if name not in _OF_THE_CELL]
    varied = [name for name in dict.fromkeys(names) if len({recipe.get(name) for recipe in recipes if recipe}) > 1]
    training = [params_text({name: recipe[name] for name in varied if name in recipe}) for recipe in recipes]
    return [{**_row(forecast), "training": text} for forecast, text in zip(forecasts, training, strict=True)]


def _row(forecast: RunForecast) -> dict[str, Any]:
    run = forecast.run
    cell = run.protocol.params
    return {
        "algorithm": run.algorithm.name,
        "params": params_text(run.algorithm.params),
        "backbone": run.backbone.name,
        "backbone_params": params_text(run.backbone.recorded),
        "dataset": run.dataset.name,
        "dataset_params": params_text(run.dataset.recorded),
        "trained_on": run.trained_on.name if run.stages else None,
        "split": run.split,
        "protocol": run.protocol.name,
        **{name: cell.get(name) for name in ("way", "shot", "query")},
        "episodes": run.episodes,
        "seed": run.seed if run.stages else None,
        "state": forecast.state,
        "detail": forecast.detail,
        "downloads": list(forecast.downloads),
        "stages": [
            {
                "name": stage.stage.name,
                "objective": stage.stage.objective,
                stage.stage.unit + "s": stage.stage.length,
                "state": stage.state,
                "detail": stage.detail,
                "seconds": None if stage.seconds is None else round(stage.seconds, 1),
                "key": stage.key,
            }
            for stage in forecast.stages
        ],
        "seconds": None if forecast.seconds is None else round(forecast.seconds, 1),
        "key": forecast.key,
    }
