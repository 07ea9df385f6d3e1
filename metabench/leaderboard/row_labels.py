"""Short names for rows in pictures: the algorithm, and only what distinguishes it from others of the same name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from metabench.leaderboard import page_text
from metabench.leaderboard.entries import Column
from metabench.leaderboard.rows import BoardRow
from metabench.registry.specs import Kind
from metabench.reports.score_text import params_text


def _params(kind: Kind) -> Callable[[BoardRow], dict[str, str]]:
    def read(row: BoardRow) -> dict[str, str]:
        values = row.first.inputs.plugins[kind].params
        return {name: params_text({name: value}) for name, value in values.items()}

    return read


_PROPERTIES: tuple[Callable[[BoardRow], dict[str, str]], ...] = (
    lambda row: {"backbone": row.first.inputs.backbone.name},
    _params("algorithm"),
    _params("backbone"),
    lambda row: {"protocol": row.first.inputs.protocol.name},  # its parameters are the column's
    lambda row: {"setting": row.setting},
    lambda row: {"trained_on": row.first.inputs.backbone.trained_on or "random start"},
    lambda row: {"train_dataset": f"from {other}" if (other := row.first.inputs.training_dataset) else "same domain"},
    lambda row: {"version": f"v{row.first.inputs.algorithm.version}"},
    lambda row: {"precision": row.first.inputs.precision},
    lambda row: {"episodes": page_text.episodes(row).replace(", seed", " test episodes, episode seed")},
    lambda row: {"length": _training_length(row)},
    lambda row: {"training": page_text.training(row)},
    lambda row: {"key": row.first.key[:8]},
)


def _training_length(row: BoardRow) -> str:
    runs = [entry.training for entry in row.entries if entry.training is not None]
    lengths = sorted({run.episodes for run in runs if run.episodes is not None}, reverse=True)
    return f"{'/'.join(f'{length:,}' for length in lengths)} episodes" if lengths else ""


def row_labels(rows: Sequence[BoardRow], cells: Collection[Column] = ()) -> dict[str, str]:
    """Return a name for each row by its identity, all different.

    Args:
        rows: of one section.
        cells: the columns that are shown: rows that have none of them get no name, and what rows say of others does
            not count. Empty: all columns.
    """
    shown = [_only(row, cells) for row in rows if not cells or any(cell in row.cells for cell in cells)]
    same: dict[str, list[BoardRow]] = defaultdict(list)
    for row in shown:
        same[row.first.inputs.algorithm.name].append(row)
    labels: dict[str, str] = {}
    for name, members in same.items():
        labels |= _distinguished(name, members)
    return labels


def _only(row: BoardRow, cells: Collection[Column]) -> BoardRow:
    """Return a row with no other results than those in `cells`; empty: all."""
    return replace(row, cells={cell: result for cell, result in row.cells.items() if not cells or cell in cells})


def _distinguished(name: str, rows: Sequence[BoardRow]) -> dict[str, str]:
    """Add properties that differ, one after the other, to rows that still have the same name."""
    parts: dict[str, list[str]] = {row.identity: [name] for row in rows}
    for properties_of in _PROPERTIES:
        values = {row.identity: properties_of(row) for row in rows}
        for key in sorted({key for value in values.values() for key in value}):
            for members in _clashing(rows, parts):
                if len({values[row.identity].get(key) for row in members}) > 1:
                    for row in members:
                        parts[row.identity] += filter(None, [values[row.identity].get(key, "")])
    return {identity: ", ".join(part) for identity, part in parts.items()}


def _clashing(rows: Sequence[BoardRow], parts: Mapping[str, Sequence[str]]) -> list[list[BoardRow]]:
    """Return the groups of two and more rows that have the same parts."""
    groups: dict[str, list[BoardRow]] = defaultdict(list)
    for row in rows:
        groups[", ".join(parts[row.identity])].append(row)
    return [members for members in groups.values() if len(members) > 1]
