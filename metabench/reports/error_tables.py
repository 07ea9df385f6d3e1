"""Where a run goes wrong, as tables and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metabench.evaluation.error_analysis import ClassRow, WorstCase
from metabench.reports.text_table import text_table
from metabench.utils.text import counted


def to_plain(found: WorstCase) -> dict[str, Any]:
    """Return the view as JSON holds it."""
    return {
        **{name: getattr(found, name) for name in ("episodes", "accuracy", "worst_tenth", "quantiles")},
        "worst_episodes": [{**vars(each), "classes": list(each.classes)} for each in found.bad],
        "classes": [vars(row) for row in found.classes],
        "confusions": [vars(pair) for pair in found.confusions],
    }


def to_text(found: WorstCase, top: int) -> str:
    """Return the view as tables for people, the worst `top` classes of many."""
    quantiles = ", ".join(f"{name} {value:.2f}" for name, value in found.quantiles.items())
    blocks = [
        f"mean of all {counted(found.episodes, 'episode')} {found.accuracy:.2f} %, "
        f"of the worst tenth {found.worst_tenth:.2f} %",
        f"quantiles of the episodes (%): {quantiles}",
    ]
    shown = found.classes[: max(top, 2)]
    more = f", the worst {len(shown)} of {len(found.classes)}" if len(shown) < len(found.classes) else ""
    header = ("class", "accuracy (%)", "precision (%)", "in worst tenth (%)", "mostly taken for", "episodes")
    blocks += [f"Classes{more}", _table(header, [_class_cells(row) for row in shown])]
    pairs = [(p.truth, p.answer, f"{p.percent:.1f}", f"{p.count:,} of {p.queries:,}") for p in found.confusions]
    if pairs:
        blocks += ["Confusions", _table(("class", "taken for", "queries (%)", "count"), pairs)]
    bad = [(each.episode, f"{each.accuracy:.2f}", ", ".join(each.classes)) for each in found.bad]
    blocks += ["Worst episodes", _table(("episode", "accuracy (%)", "classes"), bad)]
    blocks.append(_NOTES)
    return "\n\n".join(blocks)


_NOTES = (
    "accuracy: of the queries of a class, ± 95 % over the episodes with it; precision: of the answers with this class\n"
    "in worst tenth: of the episodes with this class, those among the worst tenth; 10 if it makes no difference\n"
    "queries: of the first class, in episodes that have both"
)


def _class_cells(row: ClassRow) -> tuple[str, ...]:
    half = "" if row.ci95 is None else f" ± {row.ci95:.2f}"
    precision = "-" if row.precision is None else f"{row.precision:.2f}"
    cells = f"{row.accuracy:.2f}{half}", precision, f"{row.in_worst:.1f}", row.taken_for or "-", f"{row.episodes:,}"
    return (row.name, *cells)


def _table(header: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    from metabench.utils.text import printable

    clean = [[printable(str(cell)) for cell in line] for line in body]
    return text_table(header, clean)
