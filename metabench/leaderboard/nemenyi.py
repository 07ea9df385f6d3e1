"""Mean ranks over blocks, and how far apart they must be (Demsar 2006, section 3.2.2)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_Q = (1.9600, 2.3437, 2.5690, 2.7278, 2.8497, 2.9483, 3.0309, 3.1017, 3.1637, 3.2187, 3.2680)
"""The studentised range at 5 % and infinite degrees of freedom over the square root of 2, for 2 to 12 rows.

A table, because scipy.stats takes a second to import and as long for each value; a test computes them anew.
"""
MOST = len(_Q) + 1


def mean_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over blocks of the rank within a block, (rows,), of scores (rows, blocks); 1 is the best.

    Rows with the same score share the mean of the ranks that they occupy.
    """
    ranks = [1 + ((scores > row).sum(0) + ((scores == row).sum(0) - 1) / 2).mean() for row in scores]
    return np.array(ranks)


def critical_distance(rows: int, blocks: int) -> float:
    """Return the critical difference of mean ranks at 5 %: q sqrt(k (k + 1) / (6 N)), for 2 to `MOST` rows."""
    return _Q[rows - 2] * math.sqrt(rows * (rows + 1) / (6 * blocks))
