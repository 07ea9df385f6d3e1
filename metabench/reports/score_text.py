"""Scores, widths and parameters as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def score_text(score: float, ci95: float | None, open95: float | None = None, digits: int = 2) -> str:
    """Return ``98.21 ± 0.08 (open ± 0.31)``, without widths that are None.

    >>> score_text(100.0, 0.0025)
    '100.00 ± 0.002'
    """
    closed = "" if ci95 is None else f" ± {width_text(ci95, digits)}"
    opened = "" if open95 is None else f" (open ± {width_text(open95, digits)})"
    return f"{score:.{digits}f}{closed}{opened}"


def width_text(half_width: float, digits: int = 2) -> str:
    """Return a half-width with as many decimals as its score, or, where that would be zero, with one digit."""
    if half_width >= 0.5 * 10.0**-digits:
        return f"{half_width:.{digits}f}"
    least = min(1e-4, 10.0 ** -(digits + 2))
    return f"{half_width:.1g}" if half_width >= least else f"<{least:.{max(4, digits + 2)}f}"


def params_text(params: Mapping[str, Any]) -> str:
    """Return ``name=value, ...`` in the order of the names."""
    return ", ".join(f"{name}={params[name]}" for name in sorted(params))
