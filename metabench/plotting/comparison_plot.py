"""A comparison as a picture: every difference with its interval, and the mean ranks over datasets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metabench.comparison.pairs import RankedMethods, Versus
from metabench.plotting.dot_plot import UNBOUNDED, Dot, dot_plot
from metabench.plotting.rank_diagram import rank_diagram
from metabench.plotting.stacked import stack
from metabench.plotting.svg import Picture

_WIDTH = 640.0
_POINTS = (-100.0, 100.0)


def comparison_picture(
    pairs: Sequence[Versus], ranked: Sequence[RankedMethods], min_diff: float | None = None
) -> Picture:
    """Return one picture: a panel for each dataset and protocol, then one for each ranking over datasets.

    `min_diff` is the smallest difference in points that matters; smaller ones are shaded.
    """
    panels: dict[str, list[Versus]] = defaultdict(list)
    for pair in pairs:
        panels[f"{pair.a.dataset}, {pair.a.where}"].append(pair)
    pictures = [_panel(name, members, min_diff) for name, members in panels.items()]
    pictures += [_ranks(standing) for standing in ranked]
    opened = any(pair.difference.open95 is not None for pair in pairs)
    notes = [
        "thick: 95 % interval over episodes" + ("; thin: for new classes and examples" if opened else ""),
        "p: of no difference, corrected for all pairs (Holm)",
    ]
    return stack(pictures, "Differences between runs", notes)


def _panel(name: str, pairs: Sequence[Versus], min_diff: float | None) -> Picture:
    metric = pairs[0].a.metric
    unit = "percentage points" if metric.unit == "%" else metric.unit or "its own unit"
    axis = f"difference in {metric.name}, {unit}" + (f"; grey: less than {min_diff:g}" if min_diff else "")
    bounds = _POINTS if metric.unit == "%" else UNBOUNDED
    dots = [_dot(pair) for pair in pairs]
    return dot_plot(
        dots, name, axis, bounds=bounds, zero=True, width=_WIDTH, band=min_diff or 0.0, digits=metric.digits
    )


def _dot(pair: Versus) -> Dot:
    p = "p <0.001" if pair.p_holm < 0.001 else f"p {pair.p_holm:.3f}"
    name = f"{pair.a.label} - {pair.b.label}"
    tip = f"{name}: {pair.verdict}" + (f" ({pair.difference.note})" if pair.difference.note else "")
    return Dot(name, pair.difference.mean, pair.difference.ci95, pair.difference.open95, remark=p, tip=tip)


def _ranks(standing: RankedMethods) -> Picture:
    ranks = dict(zip(standing.methods, standing.ranking.mean_ranks, strict=True))
    title = f"mean rank over {len(standing.datasets)} datasets, {standing.protocol}"
    return rank_diagram(ranks, standing.ranking.critical_difference, title)
