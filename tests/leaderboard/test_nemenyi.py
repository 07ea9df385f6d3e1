from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, studentized_range

from metabench.leaderboard.nemenyi import MOST, critical_distance, mean_ranks


@pytest.mark.parametrize("rows", range(2, MOST + 1))
def test_the_table_is_the_studentised_range(rows: int) -> None:
    q = studentized_range.ppf(0.95, rows, np.inf) / np.sqrt(2)
    assert critical_distance(rows, 100) == pytest.approx(q * np.sqrt(rows * (rows + 1) / 600), rel=2e-4)


def test_a_known_critical_difference() -> None:
    assert critical_distance(3, 9) == pytest.approx(1.1045, abs=1e-3)


def test_ties_share_the_mean_of_their_ranks() -> None:
    scores = np.array([[3.0, 1.0, 2.0, 5.0], [3.0, 2.0, 2.0, 4.0], [1.0, 2.0, 2.0, 3.0]])
    expected = rankdata(-scores, axis=0).mean(1)
    np.testing.assert_allclose(mean_ranks(scores), expected)
