"""The rows of a leaderboard as CSV: one line for every row and column, nothing rounded beyond four decimals."""

from __future__ import annotations

from typing import Any

from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.entries import Column
from metabench.leaderboard.rows import BoardRow
from metabench.records.copy_counts import copies_words, most
from metabench.registry.metric import ACCURACY
from metabench.reports.text_table import csv_text
from metabench.utils.hashing import canonical_json

_COLUMNS = (
    "algorithm",
    "algorithm_version",
    "algorithm_params",
    "setting",
    "statistics",
    "backbone",
    "backbone_version",
    "backbone_params",
    "trained_on",
    "contamination",
    "floor",
    "dataset",
    "dataset_version",
    "dataset_params",
    "split",
    "digest",
    "train_dataset",
    "protocol",
    "protocol_version",
    "protocol_params",
    "way",
    "shot",
    "n_query",
    "rank",
    "rank_shared",
    "accuracy",
    "ci95",
    "interval",
    "open95",
    "note",
    "copies",
    "episodes",
    "episode_seed",
    "seeds",
    "seed_sd",
    "total95",
    "total_open95",
    "precision",
    "published",
    "gap",
    "intervals_apart",
    "published_source",
    "keys",
    "records",
)


def board_csv(board: Board) -> str:
    """Return the CSV of one dataset.

    Where a row is not scored by accuracy, `metric` and `score` replace `accuracy`; `copies` is there if any exist.
    """
    data = [
        _datum(section, row, cell) for section in board.sections for row in section.rows for cell in sorted(row.cells)
    ]
    scored = ("accuracy",) if all(datum["metric"] == ACCURACY.name for datum in data) else ("metric", "score")
    known = ("copies",) if any(datum["copies"] for datum in data) else ()
    parts = {"accuracy": scored, "copies": known}
    columns = [part for name in _COLUMNS for part in parts.get(name, (name,))]
    return csv_text(columns, data)


def _datum(section: Section, row: BoardRow, cell: Column) -> dict[str, Any]:
    result, claim = row.cells[cell], section.claim(row, cell)
    entry = result.entries[0]
    inputs, rank = entry.inputs, section.ranks[row.identity, cell]
    datum: dict[str, Any] = {}
    for kind, plugin in inputs.plugins.items():
        datum[kind], datum[f"{kind}_version"] = plugin.name, plugin.version
        datum[f"{kind}_params"] = canonical_json(plugin.params)
    return datum | {
        "setting": row.setting,
        "statistics": row.statistics,
        "trained_on": inputs.backbone.trained_on,
        "contamination": section.contamination(row),
        "floor": "yes" if row.floor else "",
        "split": inputs.dataset.split,
        "digest": inputs.dataset.digest,
        "train_dataset": inputs.training_dataset,
        "way": cell.way or "",
        "shot": cell.shot or "",
        "n_query": "" if (n_query := entry.record.measured.same_queries) is None else n_query,
        "rank": "" if rank is None else rank.place,
        "rank_shared": "yes" if rank is not None and rank.shared else "",
        "accuracy": f"{result.score:.4f}",
        "metric": cell.metric.name,
        "score": f"{result.score:.{max(4, cell.metric.digits)}f}",
        "ci95": _number(result.ci95),
        "interval": result.kind,
        "open95": _number(result.open95),
        "note": result.note,
        "copies": copies_words(most([section.copies, *(run.record.copies for run in result.entries)])),
        "episodes": inputs.evaluation.episodes,
        "episode_seed": inputs.evaluation.seed,
        "seeds": " ".join(str(run.seed) for run in result.entries if run.seed is not None),
        "seed_sd": _number(result.seed_sd),
        "total95": _number(result.total95),
        "total_open95": _number(result.total_open95),
        "precision": inputs.precision,
        "published": "" if claim is None else f"{claim.accuracy:.4f}",
        "gap": "" if claim is None else format(claim.gap(result.score), "+.4f"),
        "intervals_apart": "yes" if claim is not None and claim.misses(result.score, result.ci95) else "",
        "published_source": "" if claim is None else claim.source,
        "keys": " ".join(run.key for run in result.entries),
        "records": " ".join(f"records/{run.file}" for run in result.entries),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
