"""The distribution of mean ranks by chance: every order of the methods on every dataset is equally likely.

Given the ranks that each dataset has, ties included, this is the exact null distribution of every statistic of the
sums of ranks (Friedman 1937, JASA 32:675-701). The statistics here do not depend on which method has which sum, so sums
are kept in order and datasets are added one after another: ten datasets and four methods have 846 ordered sums where
there are 24^10 arrangements. Where even those are too many, arrangements are drawn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.statistics.episode_scores import Floats
from metabench.utils.random_streams import Stream

Ints = NDArray[np.int64]

DRAWS = 20_000
"""Arrangements that are drawn where they are too many to be enumerated."""
_MOST_SUMS = 200_000
"""Sums that one more dataset may make before equal ones are put together; beyond them arrangements are drawn."""


@dataclass(frozen=True)
class RankSums:
    """Sums of ranks over datasets under chance.

    Attributes:
        sums: (S, k) twice the sums of ranks, which are whole numbers.
        weights: (S,) the probability of each; of drawn ones, one over their number.
        draws: how many were drawn; 0 where all are there.
    """

    sums: Ints
    weights: Floats
    draws: int

    def tail(self, statistic: Callable[[Ints], Ints], observed: Ints) -> Floats:
        """Return the probability (M,) of a statistic at least as large as each of those observed (M,).

        Of drawn arrangements the observed one counts as one more: (hits + 1) / (draws + 1) is never too small
        (Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9:39).
        """
        values = statistic(self.sums)
        order = np.argsort(values)
        below = np.searchsorted(values[order], observed, "left")
        if self.draws:
            return np.asarray((self.draws - below + 1) / (self.draws + 1))
        above = np.append(np.cumsum(self.weights[order][::-1])[::-1], 0.0)
        return np.asarray(np.minimum(1.0, above[below]))


def rank_sums(ranks: Floats) -> RankSums:
    """Return the distribution of the sums of ranks (N, k), of which ties share their mean rank."""
    doubled = np.rint(2 * ranks).astype(np.int64)
    return _enumerated(doubled) or _drawn(doubled)


def squares(sums: Ints) -> Ints:
    """Return the sum of squares (S,) of sums (S, k): what orders Friedman's and Iman and Davenport's statistics."""
    total: Ints = (sums**2).sum(1)
    return total


def widths(sums: Ints) -> Ints:
    """Return the largest difference (S,) between sums (S, k)."""
    return np.asarray(sums.max(1) - sums.min(1))


def _enumerated(doubled: Ints) -> RankSums | None:
    """Add the datasets one by one; None where that would be too much."""
    methods, largest = doubled.shape[1], int(doubled.max(1).sum())
    if (largest + 1) ** methods > 2**62:
        return None
    places = (largest + 1) ** np.arange(methods, dtype=np.int64)  # sums as the digits of one number
    sums: Ints = np.zeros((1, methods), np.int64)
    weights: Floats = np.ones(1)
    for row in doubled:
        arrangements = _arrangements(row, _MOST_SUMS // len(sums))
        if arrangements is None:
            return None
        reached = np.sort((sums[:, None, :] + arrangements[None]).reshape(-1, methods), axis=1)
        _, first, where = np.unique(reached @ places, return_index=True, return_inverse=True)
        sums = reached[first]
        shares = np.repeat(weights / len(arrangements), len(arrangements))
        weights = np.asarray(np.bincount(where.reshape(-1), shares), np.float64)
    return RankSums(sums, weights, 0)


def _arrangements(row: Ints, most: int) -> Ints | None:
    """Return the different orders (P, k) of the ranks of a dataset, all as likely; None for more than `most`."""
    counts = np.unique(row, return_counts=True)[1].tolist()
    if math.factorial(len(row)) // math.prod(map(math.factorial, counts)) > most or len(row) > 7:
        return None
    return np.array(sorted(set(itertools.permutations(row.tolist()))), np.int64)


def _drawn(doubled: Ints) -> RankSums:
    """Draw arrangements; the same for the same ranks on every machine."""
    datasets, methods = doubled.shape
    sums = np.zeros((DRAWS, methods), np.int64)
    for number, row in enumerate(doubled):
        words = Stream(["arrangements of ranks", number, datasets], methods).words(0, DRAWS)
        sums += row[np.argsort(words, axis=1, kind="stable")]
    return RankSums(sums, np.full(DRAWS, 1 / DRAWS), DRAWS)
