"""Scores as progress lines show them."""

from __future__ import annotations

from metabench.registry.metric import Metric


def interval_text(interval: tuple[float, float | None], metric: Metric) -> str:
    """Return a mean and its half-width, if it has one, with the unit of the metric."""
    mean, half = interval
    width = f" ± {half:.{metric.digits}f}" if half else ""
    return f"{mean:.{metric.digits}f}{width} {metric.unit or metric.name}"
