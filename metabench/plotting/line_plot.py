"""Accuracy over the number of shots: one line for each row, named at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metabench.plotting.axes import BOTTOM, HEIGHT, TOP, WIDTH, frame, margin, upwards
from metabench.plotting.scale import Scale, apart
from metabench.plotting.svg import Picture, group, label, polyline, shorten_names, tag, width_of

_COLOURS = 6


@dataclass(frozen=True)
class Curve:
    """A row: its value and the half-width of its interval (or None) at every x."""

    name: str
    points: Mapping[float, tuple[float, float | None]]
    floor: bool = False


def curves(rows: Sequence[Curve], title: str, x_name: str, y_name: str, width: float = WIDTH) -> Picture:
    """Draw rows over a logarithmic x; colours come with dashes and names, so that none is needed alone.

    `width` is that of the picture, in pixels.
    """
    xs = sorted({x for row in rows for x in row.points})
    ends = [(value - (half or 0), value + (half or 0)) for row in rows for value, half in row.points.values()]
    right = min(0.44 * width, 18 + max(width_of(row.name, 11) for row in rows))
    up = upwards([value for pair in ends for value in pair], 1.0)
    left = margin(up)
    across = Scale(xs[0], xs[-1], left + 8, width - right - 8, log=True)
    scales = across, up
    parts = [frame(scales, xs, left, x_name, y_name)]
    last = [row.points[max(row.points)][0] for row in rows]
    places = apart([up(value) for value in last], 14, TOP, HEIGHT - BOTTOM)
    short = shorten_names([row.name for row in rows], right - 14, 11)
    number = 0
    for row, y in zip(rows, places, strict=True):
        style = "sf" if row.floor else f"s{number % _COLOURS}"
        dash = " df" if row.floor else f" d{number // _COLOURS % 2}"
        number += not row.floor
        drawn = _curve(row, scales, dash) + _end_label(row, short[row.name], scales, y)
        parts.append(group(drawn, _in_words(row), style))
    return Picture(width, HEIGHT, title, "; ".join(map(_in_words, rows)), "".join(parts))


def _curve(row: Curve, scales: tuple[Scale, Scale], dash: str) -> str:
    """Return the band, the line and the points of a row."""
    across, up = scales
    points = [(across(x), *row.points[x]) for x in sorted(row.points)]
    upper = [(x, up.clip(value + (half or 0))) for x, value, half in points]
    lower = [(x, up.clip(value - (half or 0))) for x, value, half in reversed(points)]
    band = polyline([*upper, *lower], "band", closed=True)
    line = polyline([(x, up(value)) for x, value, _ in points], f"line c{dash}")
    return "".join([band, line, *(tag("circle", cls="f", cx=x, cy=up(value), r=3.5) for x, value, _ in points)])


def _end_label(row: Curve, text: str, scales: tuple[Scale, Scale], y: float) -> str:
    """Return the name of a row at the height `y` behind its last point, and the line that leads there."""
    across, up = scales
    last, edge = max(row.points), across.end + 8
    name = label(edge + 12, y + 4, text, "small muted" if row.floor else "small")
    start = (across(last) + 5, up(row.points[last][0]))
    return polyline([start, (edge + 1, y), (edge + 9, y)], "c thin") + name


def _in_words(row: Curve) -> str:
    return f"{row.name}: " + ", ".join(f"{x:g}-shot {row.points[x][0]:.2f}" for x in sorted(row.points))
