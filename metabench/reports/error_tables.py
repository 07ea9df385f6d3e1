"""The worst episodes, classes and confusions of a run, as tables and JSON."""

from __future__ import annotations

from typing import Any

from metabench.evaluation.error_analysis import ClassRow, WorstCase
from metabench.reports.text_table import Notes, ReportBlock, Table, report_text
from metabench.utils.text import pluralise


def error_document(view: WorstCase) -> dict[str, Any]:
    """Return the view as JSON types."""
    return {
        **{name: getattr(view, name) for name in ("episodes", "accuracy", "worst_tenth", "quantiles")},
        "worst_episodes": [{**vars(episode), "classes": list(episode.classes)} for episode in view.bad],
        "classes": [vars(row) for row in view.classes],
        "confusions": [vars(confusion) for confusion in view.confusions],
    }


def error_text(view: WorstCase, top: int) -> str:
    """Return the view as tables for people, the worst `top` classes of many."""
    quantiles = ", ".join(f"{name} {value:.2f}" for name, value in view.quantiles.items())
    blocks: list[ReportBlock] = [
        f"mean of all {pluralise(view.episodes, 'episode')} {view.accuracy:.2f} %, "
        f"of the worst tenth {view.worst_tenth:.2f} %",
        f"quantiles of the episodes (%): {quantiles}",
    ]
    shown = view.classes[: max(top, 2)]
    more = f", the worst {len(shown)} of {len(view.classes)}" if len(shown) < len(view.classes) else ""
    header = ("class", "accuracy (%)", "precision (%)", "in worst tenth (%)", "mostly taken for", "episodes")
    blocks += [f"Classes{more}", Table(header, [_class_cells(row) for row in shown])]
    pairs = [(p.truth, p.answer, f"{p.percent:.1f}", f"{p.count:,} of {p.queries:,}") for p in view.confusions]
    if pairs:
        blocks += ["Confusions", Table(("class", "taken for", "queries (%)", "count"), pairs)]
    bad = [(str(episode.episode), f"{episode.accuracy:.2f}", ", ".join(episode.classes)) for episode in view.bad]
    blocks += ["Worst episodes", Table(("episode", "accuracy (%)", "classes"), bad)]
    return report_text([*blocks, Notes(_NOTES)])


_NOTES = (
    "accuracy: of the queries of a class, ± 95 % over the episodes with it; precision: of the answers with this class",
    "in worst tenth: of the episodes with this class, those among the worst tenth; 10 if it makes no difference",
    "queries: of the first class, in episodes that have both",
)


def _class_cells(row: ClassRow) -> tuple[str, ...]:
    half = "" if row.ci95 is None else f" ± {row.ci95:.2f}"
    precision = "-" if row.precision is None else f"{row.precision:.2f}"
    cells = f"{row.accuracy:.2f}{half}", precision, f"{row.in_worst:.1f}", row.taken_for or "-", f"{row.episodes:,}"
    return (row.name, *cells)
