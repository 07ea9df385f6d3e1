"""Means over training seeds, as rows and as tables beneath those of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metabench.comparison.seed_groups import OverSeeds, over_seeds
from metabench.records.schema import Record
from metabench.registry.metric import ACCURACY, Metric
from metabench.reports.rows import TableRow, rows_from_records
from metabench.reports.run_tables import (
    ALWAYS,
    IF_NEEDED,
    IF_VARIED,
    UNSAID,
    cell_text,
    needed_columns,
    with_dataset_labels,
)
from metabench.reports.text import score_text, width_text
from metabench.reports.text_table import Notes, Table, report_text

_NOTES = (
    "seeds (sd): trainings, and the standard deviation of the {} between them",
    "±, open ± over seeds: 95 %, for another training too (seeds first, then episodes or classes)",
)


def seed_rows(records: Iterable[Record]) -> list[TableRow]:
    """Return one row for the runs that differ in the training seed alone, for every such group of the records.

    A row holds what its runs share, and `seeds` (the seeds), `score` (their mean), `seed_sd`, `total95`,
    `total_open95` (see `metabench.comparison.seed_groups.OverSeeds`) and `keys`.
    """
    return [_seed_row(group) for group in over_seeds(records)]


def seed_text(rows: Sequence[TableRow], markdown: bool = False) -> str:
    """Return a table of `seed_rows` for people; Markdown ends with a line end."""
    notes = [note.format(_metric(rows).name) for note in _NOTES]
    return report_text([_table(rows), Notes(notes)], markdown) + "\n" * markdown


def seed_spread(seeds: int, seed_sd: float | None, digits: int = 2) -> str:
    """Return ``3 (0.21)``: the number of seeds and the spread between them; ``1 (-)``; ``-`` for none."""
    return f"{seeds} ({'-' if seed_sd is None else width_text(seed_sd, digits)})" if seeds else "-"


def _seed_row(group: OverSeeds) -> TableRow:
    (shared,) = rows_from_records(group.records[:1])
    varied = (name for name in IF_VARIED if name not in ("episodes", "seed"))
    names = (*ALWAYS, "dataset_digest", "trained_on", "train_dataset", *varied, *IF_NEEDED, "copies")
    return {
        **{name: shared[name] for name in names},
        "seeds": [record.inputs.seed for record in group.records] if group.seeds else [],
        "metric": shared["metric"],
        "accuracy": round(group.score, 6) if group.metric == ACCURACY else None,
        "score": round(group.score, 6),
        "seed_sd": group.seed_sd,
        "total95": group.total95,
        "total_open95": group.total_open95,
        "keys": [record.key for record in group.records],
    }


def _metric(rows: Sequence[TableRow]) -> Metric:
    """Return the metric of the rows if it is the same for all, else a metric named ``score``."""
    metrics = {row["metric"] for row in rows}
    return metrics.pop() if len(metrics) == 1 else Metric("score")


def _table(rows: Sequence[TableRow]) -> Table:
    rows = with_dataset_labels(rows)
    varied = [
        name for name in IF_VARIED if name in rows[0] and len({row[name] for row in rows} | UNSAID.get(name, set())) > 1
    ]
    names, metric = [*ALWAYS, *varied], _metric(rows)
    needed = needed_columns(rows, names)
    cells = [
        [
            *(cell_text(row, name) for name in names),
            *(texts[index] for texts in needed.values()),
            seed_spread(len(row["seeds"]), row["seed_sd"], row["metric"].digits),
            score_text(row["score"], row["total95"], row["total_open95"], row["metric"].digits),
        ]
        for index, row in enumerate(rows)
    ]
    unit = f" ({metric.unit})" if metric.unit else ""
    return Table([*names, *needed, "seeds (sd)", f"{metric.name} over seeds{unit}"], cells, plain_header=True)
