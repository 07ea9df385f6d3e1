"""Accuracy over the number of shots: one line for each row, named at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metabench.plotting.axes import BOTTOM, HEIGHT, TOP, WIDTH, frame, margin, upwards
from metabench.plotting.scale import Scale, apart
from metabench.plotting.svg import Picture, group, label, path, shorten, tag, width_of

COLOURS = 6


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
    right = min(0.375 * width, 18 + max(width_of(row.name, 11) for row in rows))
    up = upwards([value for pair in ends for value in pair], 1.0)
    left = margin(up)
    across = Scale(xs[0], xs[-1], left + 8, width - right - 8, log=True)
    parts = [frame(across, up, xs, left, x_name, y_name)]
    last = [row.points[max(row.points)][0] for row in rows]
    places = apart([up(value) for value in last], 14, TOP, HEIGHT - BOTTOM)
    number = 0
    for row, y in zip(rows, places, strict=True):
        style = "sf" if row.floor else f"s{number % COLOURS}"
        dash = " df" if row.floor else f" d{number // COLOURS % 2}"
        number += not row.floor
        parts.append(_curve(row, across, up, style, dash, y, width))
    return Picture(width, HEIGHT, title, "; ".join(map(_in_words, rows)), "".join(parts))


def _curve(row: Curve, across: Scale, up: Scale, style: str, dash: str, y: float, width: float) -> str:
    points = [(across(x), *row.points[x]) for x in sorted(row.points)]
    upper = [(x, up.clip(value + (half or 0))) for x, value, half in points]
    lower = [(x, up.clip(value - (half or 0))) for x, value, half in reversed(points)]
    parts = [path([*upper, *lower], "band", closed=True)]
    parts.append(path([(x, up(value)) for x, value, _ in points], f"line c{dash}"))
    parts += [tag("circle", cls="f", cx=x, cy=up(value), r=3.5) for x, value, _ in points]
    x, value = points[-1][0], points[-1][1]
    edge = across.end + 8
    name = label(edge + 12, y + 4, shorten(row.name, width - edge - 14, 11), "small muted" if row.floor else "small")
    leader = path([(x + 5, up(value)), (edge + 1, y), (edge + 9, y)], "c thin")
    return group("".join([*parts, leader, name]), _in_words(row), style)


def _in_words(row: Curve) -> str:
    return f"{row.name}: " + ", ".join(f"{x:g}-shot {row.points[x][0]:.2f}" for x in sorted(row.points))
