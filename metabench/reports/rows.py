"""Records as rows of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.planning.outcome import Outcome
from metabench.planning.run_spec import NO_DIGESTS, RejectedRun
from metabench.records.copy_counts import copies_of, copies_words
from metabench.records.describe import train_dataset
from metabench.registry.metric import ACCURACY
from metabench.reports.text import params_text, score_text
from metabench.statistics.episode_scores import metric_of, parts_of, score_of
from metabench.utils.text import inert

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

COLUMNS = (
    "algorithm",
    "params",
    "setting",
    "backbone",
    "backbone_params",
    "trained_on",
    "dataset",
    "dataset_params",
    "dataset_digest",
    "split",
    "train_dataset",
    "protocol",
    "protocol_params",
    "way",
    "shot",
    "query",
    "metric",
    "score",
    "accuracy",
    "ci95",
    "interval",
    "open95",
    "parts",
    "episodes",
    "episode_seed",
    "sampling",
    "seed",
    "training",
    "precision",
    "status",
    "note",
    "copies",
    "cached",
    "key",
)
_OF_THE_CELL = ("way", "shot", "query")
_INTEGERS = ("way", "shot", "query", "episodes", "episode_seed", "seed")


def rows_from_records(records: Iterable[Mapping[str, Any]], cached: Collection[str] = ()) -> list[Row]:
    """Return one row (see `COLUMNS`) per record, in the order given.

    Args:
        records: valid records of any status.
        cached: keys of the records that were found in the store rather than measured now.

    `score` and its intervals are in the unit of `metric` (percent for accuracy) and None where nothing was measured;
    `parts` is what the score is made of, if anything: for each part its `metric`, `score` and `ci95`;
    `accuracy` is the score where that is the metric; `seed` is the seed of the training; `note` is the reason where a
    run failed; `copies` is the number of copies among the items by kind, see `metabench.records.copy_counts`.
    """
    return [_row(record, record["key"] in cached) for record in records]


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows as a data frame; integers stay integers where some are missing."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, text in _TEXTS.items():
        frame[name] = frame[name].map(text).astype("object")
    frame["metric"] = frame["metric"].map(lambda metric: None if metric is None else str(metric)).astype("object")
    numbers = {"score": "float64", "accuracy": "float64", "ci95": "float64", "open95": "float64", "cached": "bool"}
    return frame.astype({**dict.fromkeys(_INTEGERS, "Int64"), **numbers})


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return CSV text; a text cell that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        flat = {name: text(row[name]) for name, text in _TEXTS.items() if name in row}
        writer.writerow([inert({**row, **flat}[name]) for name in columns])
    return out.getvalue()


def _row(record: Mapping[str, Any], cached: bool) -> Row:
    inputs, summary, error = record["inputs"], record["summary"] or {}, record["error"]
    cell, metric = inputs["protocol"]["params"], metric_of(record["scores"]) if record["scores"] else None
    score = score_of(record) if metric else None
    note = f"{error['type']}: {error['message']}" if error else summary.get("note", "")
    return {
        "algorithm": inputs["algorithm"]["name"],
        "params": params_text(inputs["algorithm"]["params"]),
        "setting": inputs["algorithm"]["setting"],
        "backbone": inputs["backbone"]["name"],
        "backbone_params": params_text(inputs["backbone"]["params"]),
        "trained_on": inputs["backbone"]["trained_on"],
        "dataset": inputs["dataset"]["name"],
        "dataset_params": params_text(inputs["dataset"]["params"]),
        "dataset_digest": inputs["dataset"]["digest"],
        "split": inputs["dataset"]["split"],
        "train_dataset": train_dataset(inputs),
        "protocol": inputs["protocol"]["name"],
        "protocol_params": params_text({name: cell[name] for name in cell if name not in _OF_THE_CELL}),
        **{name: cell.get(name) for name in _OF_THE_CELL},
        "metric": metric,
        "score": score,
        "accuracy": score if metric == ACCURACY else None,
        "ci95": summary.get("ci95"),
        "interval": summary.get("interval"),
        "open95": summary.get("open95"),
        "parts": _parts(record),
        "episodes": summary.get("episodes", inputs["evaluation"]["episodes"]),
        "episode_seed": inputs["evaluation"]["seed"],
        "sampling": inputs["evaluation"]["sampling"],
        "seed": (inputs["training"] or {}).get("seed"),
        "training": _training(inputs["training"] or {}),
        "precision": inputs["precision"],
        "status": record["status"],
        "note": note,
        "copies": copies_of(record),
        "cached": cached,
        "key": record["key"],
    }


def _training(training: Mapping[str, Any]) -> str:
    """The settings of a training but for its seed."""
    return params_text(
        {name: value for name, value in training.items() if name != "seed" and isinstance(value, (int, float, str))}
    )


def _parts(record: Mapping[str, Any]) -> list[Row]:
    found = (record["summary"] or {}).get("parts", {})
    metrics = [part.metric for part in parts_of(record["scores"])] if found else []
    return [
        {"metric": metric, "score": found[metric.name]["mean"], "ci95": found[metric.name]["ci95"]}
        for metric in metrics
    ]


def parts_text(parts: Sequence[Row]) -> str:
    """Return ``novel 31.20 ± 0.41, base 60.02 ± 0.33``."""
    return ", ".join(f"{part['metric']} {part_text(part)}" for part in parts)


_TEXTS: Mapping[str, Callable[[Any], str]] = {"parts": parts_text, "copies": copies_words}
"""Columns that are no single value, and the text that stands for one in CSV files and data frames."""


def part_text(part: Row) -> str:
    """Return the score of one part with its interval."""
    return score_text(part["score"], part["ci95"], None, part["metric"].digits)


def outcome_rows(outcomes: Sequence[Outcome | RejectedRun]) -> list[Row]:
    """Return one table row for each outcome; what could not be measured is ``skipped``, and its note says why."""
    cached = {item.record["key"] for item in outcomes if isinstance(item, Outcome) and item.cached}
    records = (item.record if isinstance(item, Outcome) else _skipped(item) for item in outcomes)
    return rows_from_records(records, cached)


def _skipped(lacking: RejectedRun) -> dict[str, Any]:
    """Return what a table shows of a run that could not be made, as if it had a record."""
    error = {"type": type(lacking.error).__name__, "message": str(lacking.error)}
    inputs = lacking.run.inputs(NO_DIGESTS)
    return {"key": "", "inputs": inputs, "status": "skipped", "error": error, "scores": None, "summary": None}
