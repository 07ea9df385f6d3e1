"""Moments of the runs of several methods, from which variances of their means and differences are made."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.statistics.episode_scores import Floats
from metabench.statistics.shared_episodes import Bools, Run, covariances
from metabench.statistics.student_t import satterthwaite

Seeds = Sequence[Run]
"""The runs of one method in one cell, which differ in the training seed alone."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and covariances of the runs of k methods in one cell, as merits (larger is better).

    Attributes:
        means: (k,) mean over seeds and episodes.
        closed: (k, k) covariance of these means over drawing episodes anew, the trained models given.
        across: (k, k) the same of two different seeds only; of the one there is where there is but one.
        same: (k, k) whether two methods share episodes.
        df: (k,) degrees of freedom of a method's own variance.
    """

    means: Floats
    closed: Floats
    across: Floats
    same: Bools
    df: Floats

    @classmethod
    def of(cls, cell: Sequence[Seeds], unit: float = 1.0) -> Moments:
        """Return the moments of k methods in one cell, with scores in units of `unit`."""
        runs = [run for seeds in cell for run in seeds]
        numbers = np.array([len(seeds) for seeds in cell])
        starts = np.cumsum(numbers) - numbers
        products, together = covariances(runs)
        products /= unit**2
        same = np.logical_or.reduceat(np.logical_or.reduceat(together, starts, 0), starts, 1)
        closed = np.add.reduceat(np.add.reduceat(products, starts, 0), starts, 1) / np.outer(numbers, numbers)
        across = closed.copy()
        for members in _same_trainings([[seeds] for seeds in cell]).values():
            methods, n = np.array([method for method, _ in members]), numbers[members[0][0]]
            own = sum(products[np.ix_(starts[methods] + s, starts[methods] + s)] for s in range(n)) / n
            square = np.ix_(methods, methods)
            across[square] = (n * closed[square] - own) / (n - 1)
        means = np.array([float(np.mean(run_means(seeds))) / unit for seeds in cell])
        df = np.array([min(len(run.scores) for run in seeds) - 1.0 for seeds in cell])
        return cls(means, closed, across, same, df)

    def of_differences(self) -> tuple[Floats, Floats]:
        """Return the part (k, k) of the variances of differences that is not in the spread of seeds, and its df."""
        own = np.maximum(0.0, np.diag(self.across))
        welch = satterthwaite(pair_sums(own), pair_sums(own**2 / self.df), np.ones_like(self.closed))
        paired = np.minimum(self.df[:, None], self.df[None, :])
        return np.maximum(0.0, difference_variances(self.across)), np.where(self.same, paired, welch)


def _same_trainings(methods: Sequence[Sequence[Seeds]]) -> dict[Hashable, list[tuple[int, int]]]:
    """Group (method, cell) by the trained models that were measured there, where these are several."""
    groups: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for method, cells in enumerate(methods):
        for cell, seeds in enumerate(cells):
            weights = tuple(run.weights for run in seeds)
            if len(seeds) > 1:
                groups[weights if all(weights) else (method, cell)].append((method, cell))
    return groups


@dataclass(frozen=True, eq=False)
class Spread:
    """The part of the variance of k means that the spread of seeds adds, and its uncertainty.

    Attributes:
        own: (k,) part of the variance of each mean; 0 with a single seed everywhere.
        below: (k,) sum over what it is made of of (variance squared) / (degrees of freedom).
        paired, paired_below: (k, k) what to add for the difference of two methods of the same trained models, which
            vary together.
    """

    own: Floats
    below: Floats
    paired: Floats
    paired_below: Floats

    @classmethod
    def of(cls, methods: Sequence[Sequence[Seeds]], unit: float = 1.0) -> Spread:
        """Return the spread of k methods over the same cells, with scores in units of `unit`."""
        size, cells = len(methods), len(methods[0])
        spread = cls(np.zeros(size), np.zeros(size), np.zeros((size, size)), np.zeros((size, size)))
        for members in _same_trainings(methods).values():
            sums: dict[int, Floats] = defaultdict(lambda: np.zeros(1))
            for method, cell in members:
                sums[method] = sums[method] + run_means(methods[method][cell]) / unit / cells
            spread._add(np.array(list(sums)), np.stack(list(sums.values())))
        return spread

    def _add(self, methods: NDArray[np.int64], sums: Floats) -> None:
        """Add the part of one group of trained models: sums (methods, n) of the cells' means by seed."""
        n = sums.shape[1]
        centred = sums - sums.mean(1, keepdims=True)
        products = centred @ centred.T / (n - 1) / n
        own = np.diag(products)
        self.own[methods] += own
        self.below[methods] += own**2 / (n - 1)
        if len(methods) > 1:
            square, apart = np.ix_(methods, methods), ~np.eye(len(methods), dtype=bool)
            together = np.maximum(0.0, difference_variances(products))
            self.paired[square] -= apart * 2 * products
            self.paired_below[square] += apart * (together**2 - pair_sums(own**2)) / (n - 1)

    def of_differences(self) -> tuple[Floats, Floats]:
        """Return the part (k, k) of the variances of differences, and its sum as in `below`."""
        below = np.maximum(0.0, pair_sums(self.below) + self.paired_below)
        return np.maximum(0.0, pair_sums(self.own) + self.paired), below


def run_means(seeds: Seeds) -> Floats:
    """Return the mean merit (n,) of every run; the order of summation does not matter."""
    return np.array([math.fsum(run.scores.merits) / len(run.scores) for run in seeds])


def pair_sums(own: Floats) -> Floats:
    """Return the sums (k, k) of every two of (k,)."""
    sums: Floats = own[:, None] + own[None, :]
    return sums


def difference_variances(products: Floats) -> Floats:
    """Return the variances (k, k) of differences from the covariances (k, k)."""
    differences: Floats = pair_sums(np.diag(products)) - 2 * products
    return differences
