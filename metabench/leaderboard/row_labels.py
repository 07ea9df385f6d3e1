"""Short names for rows in pictures: the algorithm, and only what distinguishes it from others of the same name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from metabench.leaderboard import page_text
from metabench.leaderboard.rows import BoardRow
from metabench.registry.specs import Kind
from metabench.reports.text import params_text


def _params(kind: Kind) -> Callable[[BoardRow], dict[str, str]]:
    def read(row: BoardRow) -> dict[str, str]:
        values = row.first.inputs.plugins[kind].params
        return {name: params_text({name: value}) for name, value in values.items()}

    return read


_PROPERTIES: tuple[Callable[[BoardRow], dict[str, str]], ...] = (
    lambda row: {"backbone": row.first.inputs.backbone.name},
    _params("algorithm"),
    _params("backbone"),
    lambda row: {"protocol": row.first.inputs.protocol.name},
    _params("protocol"),
    lambda row: {"setting": row.setting},
    lambda row: {"trained_on": row.first.inputs.backbone.trained_on or "random start"},
    lambda row: {"train_dataset": f"from {other}" if (other := row.first.inputs.training_dataset) else "same domain"},
    lambda row: {"version": f"v{row.first.inputs.algorithm.version}"},
    lambda row: {"precision": row.first.inputs.precision},
    lambda row: {"episodes": page_text.episodes(row).replace(", seed", " test episodes, episode seed")},
    lambda row: {"training": page_text.training(row)},
    lambda row: {"key": row.first.key[:8]},
)


def row_labels(rows: Sequence[BoardRow]) -> dict[str, str]:
    """Return a name for each row by its identity, all different."""
    same: dict[str, list[BoardRow]] = defaultdict(list)
    for row in rows:
        same[row.first.inputs.algorithm.name].append(row)
    labels: dict[str, str] = {}
    for name, members in same.items():
        labels |= _distinguished(name, members)
    return labels


def _distinguished(name: str, rows: Sequence[BoardRow]) -> dict[str, str]:
    """Add properties that differ, one after the other, to rows that still have the same name."""
    parts: dict[str, list[str]] = {row.identity: [name] for row in rows}
    for properties_of in _PROPERTIES:
        clashing: dict[str, list[BoardRow]] = defaultdict(list)
        for row in rows:
            clashing[", ".join(parts[row.identity])].append(row)
        for members in clashing.values():
            if len(members) == 1:
                continue
            values = {row.identity: properties_of(row) for row in members}
            for key in sorted({key for value in values.values() for key in value}):
                if len({value.get(key) for value in values.values()}) > 1:
                    for row in members:
                        parts[row.identity] += filter(None, [values[row.identity].get(key, "")])
    return {identity: ", ".join(part) for identity, part in parts.items()}
