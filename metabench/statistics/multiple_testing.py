"""Holm's step-down procedure (1979): p-values and rejections that hold over many comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down rule (Holm 1979), in the order given.

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection below alpha,
    whatever the dependence between the tests.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


ALPHA = 0.05


Matrix = NDArray[np.float64]


def holm_rejects(p: Matrix, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Return which p-values (a symmetric matrix; each pair counts once) Holm's step-down method rejects."""
    above = np.triu_indices(len(p), 1)
    ordered = np.sort(p[above])
    failing = np.flatnonzero(ordered > alpha / np.arange(len(ordered), 0, -1))
    if not len(failing):
        return ~np.eye(len(p), dtype=bool)
    return np.asarray(p < ordered[failing[0]])
