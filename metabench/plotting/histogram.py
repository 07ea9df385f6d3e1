"""Histogram of one run's scores over its episodes."""

from __future__ import annotations

import math

import numpy as np

from metabench.plotting.scale import Scale, tick_text
from metabench.plotting.svg import Picture, group, label, line, tag
from metabench.registry.metric import Metric
from metabench.statistics.episode_scores import EpisodeScores, Floats
from metabench.utils.text import pluralise

_WIDTH, _HEIGHT = 560.0, 320.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 66.0, 44.0, 44.0, 14.0
_BARS = 50
WORST = 0.1
"""The share of episodes whose mean is given as the worst."""


def histogram(scores: EpisodeScores, title: str, subtitle: str, step: float = 0.0) -> Picture:
    """Draw how many episodes have which score, with mean, quartiles and the worst tenth.

    Args:
        scores: of the episodes.
        step: distance of neighbouring scores (100 / queries of an accuracy); 0 for continuous scores.
    """
    values, metric = np.sort(scores.values), scores.metric
    best_last = values if metric.higher_is_better else values[::-1]
    worst = best_last[: math.ceil(WORST * len(values))]
    edges = _edges(values, step)
    every, bad = (np.histogram(part, edges)[0] for part in (values, worst))
    across = Scale(float(edges[0]), float(edges[-1]), _LEFT, _WIDTH - _RIGHT)
    up = Scale(0, float(every.max()) * 1.05, _HEIGHT - _BOTTOM, _TOP)
    bounds = (0.0, 100.0) if metric.unit == "%" else (-math.inf, math.inf)
    lead = f"{subtitle}; sideways: {metric.axis}; upwards: episodes"
    parts = [label(0, 16, title, "strong"), label(0, 34, lead, "small muted"), _grid(across, up, bounds)]
    bars = zip(edges[:-1], edges[1:], every, bad, strict=True)
    parts += [_bar(across, up, bar, metric, bounds) for bar in bars if bar[2]]

    def shown(value: float) -> str:
        return f"{value:.{metric.digits}f}"

    mean, low = float(values.mean()), float(worst.mean())
    x = across(mean)
    parts += [
        line(x, _TOP - 4, x, up(0), "mean"),
        label(x, _TOP - 8, f"mean {shown(mean)}", "small papertext", "middle"),
    ]
    quantiles = [shown(value) for value in np.percentile(values, [5, 25, 50, 75, 95])]
    parts.append(label(0, _HEIGHT - 2, f"dark: the worst tenth of the episodes, mean {shown(low)}", "small muted"))
    middle = f"half of all lie in {quantiles[1]} to {quantiles[3]}"
    parts.append(label(_WIDTH, _HEIGHT - 2, middle, "small muted", "end"))
    described = (
        f"{pluralise(len(values), 'episode')}; mean {shown(mean)}; 5, 25, 50, 75 and 95 % quantiles "
        f"{', '.join(quantiles)}; mean of the worst tenth {shown(low)}"
    )
    return Picture(_WIDTH, _HEIGHT, title, described, "".join(parts))


def _edges(values: Floats, step: float) -> Floats:
    """Return the edges of the bars: between the possible scores, so that none is on an edge."""
    low, high = float(values[0]), float(values[-1])
    width = math.ceil(round((high - low) / step + 1) / _BARS) * step if step else (high - low) / _BARS
    width = width or max(abs(low), 1.0) / _BARS
    count = max(1, math.ceil((high - low) / width + (1 if step else 0) - 1e-9))
    air = 3 if count < 5 else 0  # hardly any spread
    start = low - step / 2
    edges: Floats = np.asarray(start + width * np.arange(-air, count + air + 1), dtype=np.float64)
    edges[-1] = max(edges[-1], high)
    return edges


def _bar(
    across: Scale, up: Scale, bar: tuple[float, float, int, int], metric: Metric, bounds: tuple[float, float]
) -> str:
    start, end, every, bad = bar
    x, width = across(start) + 0.5, max(0.5, across(end) - across(start) - 1)
    parts = [tag("rect", cls="bar", x=x, y=up(every), width=width, height=up(0) - up(every))]
    if bad:
        parts.append(tag("rect", cls="tail", x=x, y=up(bad), width=width, height=up(0) - up(bad)))
    return group("".join(parts), _range(start, end, metric, bounds) + f": {pluralise(every, 'episode')}")


def _range(start: float, end: float, metric: Metric, bounds: tuple[float, float]) -> str:
    digits = max(1, metric.digits - 1)
    return f"{max(bounds[0], start):.{digits}f} to {min(bounds[1], end):.{digits}f} {metric.unit or metric.name}"


def _grid(across: Scale, up: Scale, bounds: tuple[float, float]) -> str:
    parts = []
    for value in up.ticks(4):
        y = up(value)
        parts += [line(_LEFT, y, across.end, y, "grid"), label(_LEFT - 6, y + 4, f"{value:,.0f}", "small muted", "end")]
    for value in (value for value in across.ticks(8) if bounds[0] <= value <= bounds[1]):
        x = across(value)
        parts += [line(x, up(0), x, up(0) + 4, "rule"), label(x, up(0) + 17, tick_text(value), "small muted", "middle")]
    return "".join(parts)
