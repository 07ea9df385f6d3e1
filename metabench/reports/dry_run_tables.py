"""What ``--dry-run`` prints: every run of a plan, how it stands, and how long it takes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from metabench.planning.folder_labels import names_with_places
from metabench.planning.forecast import NOT_MADE, RunForecast
from metabench.reports.text import params_text
from metabench.reports.text_table import text_table
from metabench.utils.text import escape, printable

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


def to_json(found: Sequence[RunForecast]) -> str:
    """Return one JSON document ``{"runs": [...], "seconds": ..., "unknown": ...}``."""
    document = {"runs": _rows(found), **_total(found)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str)


def to_text(found: Sequence[RunForecast], markdown_form: bool = False) -> str:
    """Return a table of the runs, the number in each state, the time, and what is downloaded first or not made."""
    clean: Callable[[str], str] = escape if markdown_form else printable
    data_sets = names_with_places([each.run.dataset for each in found])
    rows = [{**row, "dataset": name} for row, name in zip(_rows(found), data_sets, strict=True)]
    names = [*_ALWAYS, *(name for name in _IF_NEEDED if _tells_apart(name, rows))]
    body = [
        [*("-" if row[name] is None else str(row[name]) for name in names), _state(each), duration(each.seconds)]
        for row, each in zip(rows, found, strict=True)
    ]
    header = [*(_HEADER.get(name, name) for name in names), "state", "time"]
    cells = [[clean(cell) for cell in line] for line in body]
    table = text_table(header, cells, markdown_form)
    lines = [_counts(found), *_downloads(found), *_not_made(found)]
    return "\n\n".join([table, ("\n\n" if markdown_form else "\n").join(map(clean, lines))])


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


def _tells_apart(name: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether runs that are alike in what is always shown differ in `name`."""
    values: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        values[tuple(str(row[always]) for always in _ALWAYS)].add(str(row[name]))
    return any(len(each) > 1 for each in values.values())


def _state(each: RunForecast) -> str:
    return f"{each.state}: {each.detail}" if each.state == "partial" else each.state


def _total(found: Sequence[RunForecast]) -> dict[str, Any]:
    """Seconds of what can be run, and the number of those runs for which they are not known."""
    possible = [each for each in found if each.state not in NOT_MADE]
    seconds = sum(each.seconds or 0.0 for each in possible)
    return {"seconds": round(seconds, 1), "unknown": sum(each.seconds is None for each in possible)}


def _counts(found: Sequence[RunForecast]) -> str:
    counts = Counter(each.state for each in found)
    total = _total(found)
    time = "nothing to measure" if counts["cached"] == len(found) else duration(total["seconds"])
    if total["unknown"]:
        known = f"{time} and " if total["seconds"] else ""
        time = f"{known}an unknown time for {total['unknown']} (nothing like them was measured here)"
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(found)} run{'s' if len(found) != 1 else ''}: {states}; {time}"


def _downloads(found: Sequence[RunForecast]) -> list[str]:
    counts = Counter(line for each in found for line in each.downloads)
    return [f"before {count} run{'s' if count > 1 else ''}: {line}" for line, count in counts.items()]


def _not_made(found: Sequence[RunForecast]) -> list[str]:
    reasons = Counter((each.state, each.detail) for each in found if each.state in NOT_MADE)
    return [f"{state} for {count} run{'s' if count > 1 else ''}: {why}" for (state, why), count in reasons.items()]


def _rows(found: Sequence[RunForecast]) -> list[dict[str, Any]]:
    """The runs as rows; ``training`` holds what tells their recipes apart."""
    recipes = [{} if each.run.recipe is None else each.run.recipe.inputs() for each in found]
    names = [name for recipe in recipes for name in recipe if name not in _OF_THE_CELL]
    varied = [name for name in dict.fromkeys(names) if len({recipe[name] for recipe in recipes if recipe}) > 1]
    training = [params_text({name: recipe[name] for name in varied if name in recipe}) for recipe in recipes]
    return [{**_row(each), "training": text} for each, text in zip(found, training, strict=True)]


def _row(each: RunForecast) -> dict[str, Any]:
    run = each.run
    cell = run.protocol.params
    return {
        "algorithm": run.algorithm.name,
        "params": params_text(run.algorithm.params),
        "backbone": run.backbone.name,
        "backbone_params": params_text(run.backbone.recorded),
        "dataset": run.dataset.name,
        "dataset_params": params_text(run.dataset.recorded),
        "trained_on": run.trained_on.name if run.recipe else None,
        "split": run.split,
        "protocol": run.protocol.name,
        **{name: cell.get(name) for name in ("way", "shot", "query")},
        "episodes": run.episodes,
        "seed": run.seed if run.recipe else None,
        "state": each.state,
        "detail": each.detail,
        "downloads": list(each.downloads),
        "seconds": None if each.seconds is None else round(each.seconds, 1),
        "key": each.key,
    }
