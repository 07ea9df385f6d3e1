"""The distribution of one run's scores over its episodes: what a mean and its interval leave out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metabench.pictures.scale import Scale, tick_text
from metabench.pictures.svg import Picture, group, label, line, tag

WIDTH, HEIGHT = 560.0, 320.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 66.0, 44.0, 44.0, 14.0
_BARS = 50
WORST = 0.1
"""The share of episodes whose mean is given as the worst."""


def histogram(correct: Sequence[int], n_query: int, title: str, subtitle: str) -> Picture:
    """Draw how many episodes have which accuracy (percent), with mean, quartiles and the worst tenth.

    Args:
        correct: (episodes,) correct answers.
        n_query: queries in every episode.
    """
    counts = np.sort(np.asarray(correct))
    worst = counts[: math.ceil(WORST * len(counts))]
    step = math.ceil((counts[-1] - counts[0] + 1) / _BARS)
    edges = np.arange(counts[0], counts[-1] + step + 1, step) - 0.5  # between counts, so that none is on an edge
    if len(edges) < 6:  # hardly any spread: air on both sides
        edges = np.arange(edges[0] - 3 * step, edges[-1] + 3 * step + 1, step)
    every, bad = (np.histogram(values, edges)[0] for values in (counts, worst))
    across = Scale(100 * edges[0] / n_query, 100 * edges[-1] / n_query, _LEFT, WIDTH - _RIGHT)
    up = Scale(0, float(every.max()) * 1.05, HEIGHT - _BOTTOM, _TOP)
    percent = 100 * edges / n_query
    lead = f"{subtitle}; {len(counts):,} episodes of {n_query} queries; sideways: accuracy, %; upwards: episodes"
    parts = [label(0, 16, title, "strong"), label(0, 34, lead, "small muted"), _grid(across, up)]
    parts += [_bar(across, up, *bar) for bar in zip(percent[:-1], percent[1:], every, bad, strict=True) if bar[2]]
    scores = 100.0 * counts / n_query
    mean, low = float(scores.mean()), 100.0 * float(worst.mean()) / n_query
    x = across(mean)
    parts += [line(x, _TOP - 4, x, up(0), "mean"), label(x, _TOP - 8, f"mean {mean:.2f}", "small papertext", "middle")]
    quantiles = np.percentile(scores, [5, 25, 50, 75, 95])
    parts.append(label(0, HEIGHT - 2, f"dark: the worst tenth of the episodes, mean {low:.2f}", "small muted"))
    middle = f"half of all lie in {quantiles[1]:.2f} to {quantiles[3]:.2f}"
    parts.append(label(WIDTH, HEIGHT - 2, middle, "small muted", "end"))
    described = (
        f"{len(scores):,} episodes; mean {mean:.2f}; 5, 25, 50, 75 and 95 % quantiles "
        f"{', '.join(f'{value:.2f}' for value in quantiles)}; mean of the worst tenth {low:.2f}"
    )
    return Picture(WIDTH, HEIGHT, title, described, "".join(parts))


def _bar(across: Scale, up: Scale, start: float, end: float, every: int, bad: int) -> str:
    x, width = across(start) + 0.5, max(0.5, across(end) - across(start) - 1)
    parts = [tag("rect", cls="bar", x=x, y=up(every), width=width, height=up(0) - up(every))]
    if bad:
        parts.append(tag("rect", cls="tail", x=x, y=up(bad), width=width, height=up(0) - up(bad)))
    return group("".join(parts), f"{max(0, start):.1f} to {min(100, end):.1f} %: {every:,} episodes")


def _grid(across: Scale, up: Scale) -> str:
    parts = []
    for value in up.ticks(4):
        y = up(value)
        parts += [line(_LEFT, y, across.end, y, "grid"), label(_LEFT - 6, y + 4, f"{value:,.0f}", "small muted", "end")]
    for value in (value for value in across.ticks(8) if 0 <= value <= 100):
        x = across(value)
        parts += [line(x, up(0), x, up(0) + 4, "rule"), label(x, up(0) + 17, tick_text(value), "small muted", "middle")]
    return "".join(parts)
