"""Scatter plot with the Pareto front: points that no other beats in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.plotting.axes import BOTTOM, HEIGHT, WIDTH, frame, margin, upwards
from metabench.plotting.scale import Scale
from metabench.plotting.svg import Picture, group, label, polyline, shorten_names, tag, width_of

Box = tuple[float, float, float, float]
_NAMED = 24  # more points than this get no names and tips but those of the front


@dataclass(frozen=True)
class Point:
    """A point: cost to the right (logarithmic), value upwards."""

    name: str
    cost: float
    value: float
    floor: bool = False
    tip: str = ""


def scatter(points: Sequence[Point], title: str, x_name: str, y_name: str) -> Picture:
    """Draw points; a dashed line joins those with no cheaper point of a higher value."""
    costs = [point.cost for point in points]
    up = upwards([point.value for point in points], 1.0)
    left = margin(up)
    across = Scale(min(costs) / 1.6, max(costs) * 1.6, left + 8, WIDTH - 14, log=True)
    front = pareto(points)
    parts = [frame((across, up), across.ticks(6), left, x_name, y_name), _front(front, across, up)]
    taken = [(across(p.cost) - 6, up(p.value) - 6, across(p.cost) + 6, up(p.value) + 6) for p in points]
    names = shorten_names([point.name for point in points], 150, 11)
    for point in sorted(points, key=lambda p: (p not in front, -p.value)):
        x, y = across(point.cost), up(point.value)
        mark = tag("circle", cls="dot", cx=x, cy=y, r=4.5)
        if len(points) > _NAMED and point not in front:
            parts.append(mark if not point.floor else group(mark, cls="floor"))
            continue
        name = _name(names[point.name], (x, y), left, taken)
        parts.append(group(mark + name, point.tip, "floor" if point.floor else ""))
    described = "; ".join(f"{point.name} {point.value:.2f} at {point.cost:.3g}" for point in points)
    return Picture(WIDTH, HEIGHT, title, described, "".join(parts))


def pareto(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats or equals at the same or a lower cost, cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.value)):
        if not front or point.value > front[-1].value:
            front.append(point)
    return front


def _front(front: Sequence[Point], across: Scale, up: Scale) -> str:
    steps: list[tuple[float, float]] = []
    for point in front:
        if steps:
            steps.append((across(point.cost), steps[-1][1]))
        steps.append((across(point.cost), up(point.value)))
    return polyline(steps, "front") if len(steps) > 1 else ""


def _name(text: str, place: tuple[float, float], edge: float, taken: list[Box]) -> str:
    """Return the name beside a point where there is room: right, left, above or below; '' without room."""
    (x, y), width = place, width_of(text, 11)
    for left, base in ((x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 9), (x - width / 2, y + 17)):
        box = (left, base - 10, left + width, base + 3)
        if box[0] < edge or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT - BOTTOM:
            continue
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            continue
        taken.append(box)
        return label(left, base, text, "small")
    return ""
