"""Holm's step-down procedure (1979): p-values and rejections that hold over many comparisons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05

Matrix = NDArray[np.float64]


def holm(p: ArrayLike) -> list[float]:
    """Return p-values (m,) adjusted for their number by Holm's step-down rule (Holm 1979), in the order given.

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection below alpha,
    whatever the dependence between the tests.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(values), 0, -1) * values[order]))
    result: list[float] = adjusted.tolist()
    return result


def holm_rejects(p: Matrix, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Return which p-values (a symmetric matrix; each pair counts once) Holm's step-down method rejects."""
    above = np.triu_indices(len(p), 1)
    rejected = np.zeros(p.shape, dtype=bool)
    rejected[above] = np.array(holm(p[above])) <= alpha
    return rejected | rejected.T
