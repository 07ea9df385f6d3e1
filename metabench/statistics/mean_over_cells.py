"""Ranks with ties over the cells of a suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metabench.statistics.mean_moments import Seeds
from metabench.statistics.means import compare_means, is_rankable
from metabench.statistics.tied_ranks import Rank, places


def rank_over_cells(rows: Sequence[Sequence[Seeds]]) -> list[Rank | None]:
    """Rank methods (k rows of the same cells, each with its seeds, of one metric); see `tied_ranks.places`.

    The tests are of the difference of the means over cells (`means.compare_means`). A method with a cell of a single
    episode has no rank.
    """
    able = [index for index, row in enumerate(rows) if all(map(is_rankable, row))]
    ranks: list[Rank | None] = [None] * len(rows)
    if able:
        gaps, p = compare_means([rows[index] for index in able])
        means = np.round(gaps[:, 0], 9)  # above that of the first; what differs by less is rounding
        for index, place in zip(able, places(means, gaps, p), strict=True):
            ranks[index] = place
    return ranks
