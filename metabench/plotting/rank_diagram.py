"""Critical-difference diagram (Demsar 2006): mean ranks on a line, bars over those that do not differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from metabench.plotting.scale import Scale
from metabench.plotting.svg import Picture, label, line, polyline, shorten_names, width_of

_WIDTH = 560.0
_STEP = 20.0


def cliques(mean_ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """Return the longest runs (first, last) of sorted mean ranks that span less than the critical distance."""
    runs: list[tuple[int, int]] = []
    for first, low in enumerate(mean_ranks):
        last = max(index for index, value in enumerate(mean_ranks) if value - low < distance)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def rank_diagram(mean_ranks: Mapping[str, float], distance: float, title: str) -> Picture:
    """Draw mean ranks by name, the best (lowest) at the left; `distance` is the critical difference."""
    names = sorted(mean_ranks, key=lambda name: (mean_ranks[name], name))
    values = [mean_ranks[name] for name in names]
    groups = cliques(values, distance)
    half = math.ceil(len(names) / 2)
    room = 5 + max(width_of(f"{value:.2f}", 11) for value in values)
    side = min(230.0, 18 + room + max(width_of(name) for name in names))
    low, high = math.floor(values[0]), max(math.ceil(values[-1]), math.floor(values[0]) + 1)
    scale = Scale(low, high, side, _WIDTH - side)
    top = 46.0
    under = top + 14 + 9 * len(groups)
    parts = [_ruler(scale, top), _distance(scale, distance)]
    short = shorten_names(names, side - 16 - room)
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        left = index < half
        y = under + _STEP * (index if left else len(names) - 1 - index) + 6
        end = side - 8 if left else _WIDTH - side + 8
        parts.append(polyline([(scale(value), top), (scale(value), y), (end, y)], "rule"))
        words, anchor = short[name], "end" if left else "start"
        near, far = (side - 12, side - 12 - room) if left else (_WIDTH - side + 12, _WIDTH - side + 12 + room)
        parts.append(label(near, y + 4, f"{value:.2f}", "small muted", anchor))
        parts.append(label(far, y + 4, words, "", anchor))
    for index, (first, last) in enumerate(groups):
        y = top + 12 + 9 * index
        parts.append(line(scale(values[first]) - 3, y, scale(values[last]) + 3, y, "clique"))
    described = "; ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
    return Picture(
        _WIDTH, under + _STEP * half + 6, title, f"critical difference {distance:.3f}; {described}", "".join(parts)
    )


def _ruler(scale: Scale, y: float) -> str:
    parts = [line(scale.start, y, scale.end, y, "rule")]
    for value in range(int(scale.low), int(scale.high) + 1):
        x = scale(value)
        parts += [line(x, y - 5, x, y, "rule"), label(x, y - 9, str(value), "small muted", "middle")]
    return "".join(parts)


def _distance(scale: Scale, distance: float) -> str:
    """Return the critical difference as a bar of its length, where it fits, and in words."""
    words = f"critical difference {distance:.3f}" if distance < 1 else f"critical difference {distance:.2f}"
    length = scale(scale.low + distance) - scale.start
    if length > scale.end - scale.start:
        return label(scale.start, 14, f"{words} (longer than the line)", "small muted")
    x1, x2 = scale.start, scale.start + length
    bar = line(x1, 10, x2, 10, "rule") + line(x1, 6, x1, 14, "rule") + line(x2, 6, x2, 14, "rule")
    return bar + label(x2 + 8, 14, words, "small muted")
