"""Records as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.planning.data_digests import NO_DIGESTS
from metabench.planning.outcome import Outcome
from metabench.planning.run_spec import RejectedRun
from metabench.records.copy_counts import copies_words
from metabench.records.inputs import TrainingInputs, inputs_of
from metabench.records.schema import SCHEMA, Cost, Provenance, Record, RunError
from metabench.records.training_text import trained_by
from metabench.registry.metric import ACCURACY
from metabench.reports.score_text import params_text, score_text

if TYPE_CHECKING:
    import pandas as pd

TableRow = dict[str, Any]

RUN_COLUMNS = (
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
    "trained_by",
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


def rows_from_records(records: Iterable[Record], cached: Collection[str] = ()) -> list[TableRow]:
    """Return one row (see `RUN_COLUMNS`) per record, in the order given.

    Args:
        records: valid records of any status.
        cached: keys of the records that were found in the store rather than measured now.

    `score` and its intervals are in the unit of `metric` (percent for accuracy) and None where nothing was measured;
    `parts` is what the score is made of, if anything: for each part its `metric`, `score` and `ci95`;
    `accuracy` is the score where that is the metric; `seed` is the seed of the training; `note` is the reason where a
    run failed; `trained_by` the stages of the training in words; `copies` is the number of copies among the items by
    kind, see `metabench.records.copy_counts`.
    """
    return [_row(record, record.key in cached) for record in records]


def to_frame(rows: Sequence[TableRow]) -> pd.DataFrame:
    """Return the rows as a data frame; integers stay integers where some are missing."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    for name, text in _TEXTS.items():
        frame[name] = frame[name].map(text).astype("object")
    frame["metric"] = frame["metric"].map(lambda metric: None if metric is None else str(metric)).astype("object")
    numbers = {"score": "float64", "accuracy": "float64", "ci95": "float64", "open95": "float64", "cached": "bool"}
    return frame.astype({**dict.fromkeys(_INTEGERS, "Int64"), **numbers})


def flat_row(row: TableRow) -> TableRow:
    """Return a row whose values are all single: lists and mappings as the text that CSV files and frames hold."""
    return {**row, **{name: text(row[name]) for name, text in _TEXTS.items()}}


def _row(record: Record, cached: bool) -> TableRow:
    inputs, error = record.inputs, record.error
    summary = None if record.scores is None else record.summary
    cell, metric = inputs.protocol.params, None if record.scores is None else record.metric
    score = None if summary is None else summary.mean
    note = str(error) if error else "" if summary is None else summary.note
    return {
        "algorithm": inputs.algorithm.name,
        "params": params_text(inputs.algorithm.params),
        "setting": inputs.algorithm.setting,
        "backbone": inputs.backbone.name,
        "backbone_params": params_text(inputs.backbone.params),
        "trained_on": inputs.backbone.trained_on,
        "dataset": inputs.dataset.name,
        "dataset_params": params_text(inputs.dataset.params),
        "dataset_digest": inputs.dataset.digest,
        "split": inputs.dataset.split,
        "train_dataset": inputs.training_dataset,
        "protocol": inputs.protocol.name,
        "protocol_params": params_text({name: cell[name] for name in cell if name not in _OF_THE_CELL}),
        **{name: cell.get(name) for name in _OF_THE_CELL},
        "metric": metric,
        "score": score,
        "accuracy": score if metric == ACCURACY else None,
        "ci95": None if summary is None else summary.ci95,
        "interval": None if summary is None else summary.interval,
        "open95": None if summary is None else summary.open95,
        "parts": [] if summary is None else _parts(record),
        "episodes": inputs.evaluation.episodes if summary is None else summary.episodes,
        "episode_seed": inputs.evaluation.seed,
        "sampling": inputs.evaluation.sampling,
        "seed": inputs.seed,
        "trained_by": trained_by(inputs.training, record.training),
        "training": "" if inputs.training is None else _training(inputs.training),
        "precision": inputs.precision,
        "status": record.status,
        "note": note,
        "copies": record.copies,
        "cached": cached,
        "key": record.key,
    }


def _training(training: TrainingInputs) -> str:
    """Return the settings of a training but for its seed."""
    return params_text({name: value for name, value in training.settings.items() if name != "seed"})


def _parts(record: Record) -> list[TableRow]:
    known = record.summary.parts
    metrics = [part.metric.metric for part in record.measured.parts]
    return [{"metric": metric, "score": known[metric.name].mean, "ci95": known[metric.name].ci95} for metric in metrics]


def parts_text(parts: Sequence[TableRow]) -> str:
    """Return ``novel 31.20 ± 0.41, base 60.02 ± 0.33``."""
    return ", ".join(f"{part['metric']} {part_text(part)}" for part in parts)


_TEXTS: Mapping[str, Callable[[Any], str]] = {"parts": parts_text, "copies": copies_words}
"""Columns that are no single value, and the text that stands for one in CSV files and data frames."""


def part_text(part: TableRow) -> str:
    """Return the score of one part with its interval."""
    return score_text(part["score"], part["ci95"], None, part["metric"].digits)


def outcome_rows(outcomes: Sequence[Outcome | RejectedRun]) -> list[TableRow]:
    """Return one table row for each outcome; what could not be measured is ``skipped``, and its note says why."""
    cached = {item.record.key for item in outcomes if isinstance(item, Outcome) and item.cached}
    records = (item.record if isinstance(item, Outcome) else _skipped(item) for item in outcomes)
    return rows_from_records(records, cached)


def _skipped(rejected: RejectedRun) -> Record:
    """Return what a table shows of a run that could not be made, as if it had a record."""
    return Record(
        schema=SCHEMA,
        key="",
        status="skipped",
        inputs=inputs_of(rejected.run.inputs(NO_DIGESTS)),
        scores=None,
        summary_fields=None,
        training=None,
        cost=Cost(),
        provenance=Provenance(),
        error=RunError(type(rejected.error).__name__, str(rejected.error)),
    )
