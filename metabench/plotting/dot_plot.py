"""Dot plot: one line for each row with its value, two intervals and a published value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metabench.plotting.scale import Scale, padded, tick_text
from metabench.plotting.svg import Picture, group, label, line, polyline, shorten, tag, width_of

WIDTH = 400.0
_ROW, _TOP, _BOTTOM = 25.0, 10.0, 40.0
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Dot:
    """A row of a dot plot.

    Attributes:
        name: the label at the left.
        value: in the unit of the axis.
        closed, opened: half-widths of the inner and the outer interval; None without one.
        claim: a published value.
        claim_margin: half-width of its interval.
        floor: drawn paler, and not allowed to stretch the axis.
        remark: a word after the value (a rank).
        tip: the tool tip.
    """

    name: str
    value: float
    closed: float | None = None
    opened: float | None = None
    claim: float | None = None
    claim_margin: float = 0.0
    floor: bool = False
    remark: str = ""
    tip: str = ""

    @property
    def ends(self) -> list[float]:
        """The values that must be visible."""
        reach = max(self.closed or 0.0, self.opened or 0.0)
        claimed = [] if self.claim is None else [self.claim - self.claim_margin, self.claim + self.claim_margin]
        return [self.value - reach, self.value + reach, *claimed]


def dot_plot(
    dots: Sequence[Dot],
    title: str,
    axis: str,
    *,
    bounds: tuple[float, float] = (0.0, 100.0),
    zero: bool = False,
    width: float = WIDTH,
    band: float = 0.0,
    digits: int = 2,
) -> Picture:
    """Draw rows in the order given.

    The axis spans the rows that are no floors; a row beyond it is an arrow at the edge, its value in words.

    Args:
        dots: the rows.
        title: of the picture.
        axis: the text below the axis.
        bounds: the range of possible values.
        zero: values are differences: with a sign, and a line at 0.
        width: of the picture, in pixels.
        band: shade the values from -band to band (differences too small to matter).
        digits: decimals of the values.
    """
    shown = [dot for dot in dots if not dot.floor] or list(dots)
    low, high = padded([end for dot in shown for end in dot.ends] + ([0.0] if zero else []), 0.5, bounds)
    left = min(0.42 * width, 14 + max(width_of(dot.name) for dot in dots))
    values = [f"{dot.value:+.{digits}f}" if zero else f"{dot.value:.{digits}f}" for dot in dots]
    remarks = max(width_of(dot.remark, 11) + 6 * bool(dot.remark) for dot in dots)
    right = 16 + max(width_of(text) for text in values) + remarks
    scale = Scale(low, high, left, width - right)
    bottom = _TOP + _ROW * len(dots)
    parts = [_band(scale, band, bottom), _axis(scale, bottom, axis)]
    if zero:
        parts.append(line(scale(0), _TOP, scale(0), bottom, "rule"))
    for index, (dot, text) in enumerate(zip(dots, values, strict=True)):
        y = _TOP + _ROW * (index + 0.5)
        words = _name(dot.name, y, left - 12) + _value(dot, text, y, width - remarks)
        parts.append(group(words + _marks(dot, scale, y), dot.tip, "floor" if dot.floor else ""))
    described = "; ".join(f"{dot.name} {text} {dot.remark}".strip() for dot, text in zip(dots, values, strict=True))
    return Picture(width, bottom + _BOTTOM, title, described, "".join(parts))


def _name(name: str, y: float, room: float) -> str:
    """Return the name of a row at the height `y`: on one line, or where that is too long on two smaller ones."""
    if width_of(name) <= room:
        return label(0, y + 4, name)
    first, rest = _two_lines(name, room)
    if not rest:
        return label(0, y + 4, shorten(name, room))
    return label(0, y - 1, shorten(first, room, 11), "small") + label(0, y + 9, shorten(rest, room, 11), "small")


def _two_lines(name: str, room: float) -> tuple[str, str]:
    """Return a name divided after the last comma up to which it fits; the second part is '' without a comma."""
    parts = name.split(", ")
    fitting = [end for end in range(1, len(parts)) if width_of(", ".join(parts[:end]) + ",", 11) <= room]
    end = fitting[-1] if fitting else 1
    return ", ".join(parts[:end]) + "," * (end < len(parts)), ", ".join(parts[end:])


def _axis(scale: Scale, bottom: float, name: str) -> str:
    room = scale.end - scale.start
    widest = max(width_of(tick_text(value), 11) for value in scale.ticks()) + 14
    parts = []
    for value in scale.ticks(int(max(2, min(6, room // widest)))):
        x = scale(value)
        parts += [line(x, _TOP, x, bottom, "grid"), label(x, bottom + 15, tick_text(value), "small muted", "middle")]
    parts.append(label((scale.start + scale.end) / 2, bottom + 33, name, "small muted", "middle"))
    return "".join(parts)


def _band(scale: Scale, band: float, bottom: float) -> str:
    if not band:
        return ""
    start, end = scale.clip(-band), scale.clip(band)
    return tag("rect", cls="zone", x=start, y=_TOP, width=end - start, height=bottom - _TOP)


def _value(dot: Dot, text: str, y: float, end: float) -> str:
    value = label(end, y + 4, text, "strong" if not dot.floor else "", "end")
    return value + (label(end + 7, y + 4, dot.remark, "small muted") if dot.remark else "")


def _marks(dot: Dot, scale: Scale, y: float) -> str:
    parts = []
    if not scale.inside(dot.value):
        x, tip = (scale.start + 8, scale.start + 1) if dot.value < scale.low else (scale.end - 8, scale.end - 1)
        return polyline([(tip, y), (x, y - 4), (x, y + 4)], "dot", closed=True)
    if dot.opened is not None:
        ends = scale.clip(dot.value - dot.opened), scale.clip(dot.value + dot.opened)
        parts += [line(*_across(ends, y), "open"), *(line(x, y - 4, x, y + 4, "open") for x in ends)]
    if dot.closed is not None:
        ends = scale.clip(dot.value - dot.closed), scale.clip(dot.value + dot.closed)
        parts.append(line(*_across(ends, y), "closed"))
    if dot.claim is not None and scale.inside(dot.claim):
        x = scale(dot.claim)
        ends = scale.clip(dot.claim - dot.claim_margin), scale.clip(dot.claim + dot.claim_margin)
        parts.append(line(*_across(ends, y), "paper"))
        parts.append(polyline([(x - 4.5, y), (x, y - 4.5), (x + 4.5, y), (x, y + 4.5)], "paper", closed=True))
    parts.append(tag("circle", cls="dot", cx=scale(dot.value), cy=y, r=4))
    return "".join(parts)


def _across(ends: tuple[float, float], y: float) -> tuple[float, float, float, float]:
    return ends[0], y, ends[1], y
