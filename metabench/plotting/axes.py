"""The frame of pictures with two axes: grid lines, ticks and axis names."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.plotting.scale import Scale, padded, tick_text
from metabench.plotting.svg import label, line, width_of

WIDTH, HEIGHT = 400.0, 270.0
TOP, BOTTOM = 12.0, 42.0


def upwards(values: Sequence[float], least: float) -> Scale:
    """Return the vertical scale for values in percent, at least `least` high."""
    return Scale(*padded(values, least), HEIGHT - BOTTOM, TOP)


def margin(up: Scale) -> float:
    """Return the room that the labels of the vertical axis need at the left."""
    return 8 + max(width_of(tick_text(value), 11) for value in up.ticks())


def frame(scales: tuple[Scale, Scale], x_ticks: Sequence[float], left: float, x_name: str, y_name: str) -> str:
    """Return grid, ticks and axis names for the scales to the right and upwards; the lines start at `left`."""
    across, up = scales
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(line(left, y, across.end + 8, y, "grid"))
        parts.append(label(left - 5, y + 4, tick_text(value), "small muted", "end"))
    for value in x_ticks:
        x = across(value)
        parts.append(line(x, up.start, x, up.start + 4, "rule"))
        parts.append(label(x, up.start + 17, tick_text(value), "small muted", "middle"))
    middle = (across.start + across.end) / 2
    return "".join([*parts, label(middle, up.start + 34, f"{x_name}; upwards: {y_name}", "small muted", "middle")])
