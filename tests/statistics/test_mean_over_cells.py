"""Means and ranks over cells, against what simulation and simple cases say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metabench.registry.metric import ACCURACY, Metric
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.mean_moments import Seeds
from metabench.statistics.mean_over_cells import rank_over_cells
from metabench.statistics.means import mean_over_cells
from metabench.statistics.shared_episodes import Run

RNG = np.random.Generator(np.random.PCG64(5))


def cell(values: np.ndarray[Any, Any], digest: str = "", metric: Metric = ACCURACY) -> Seeds:
    """One run in a cell."""
    return [Run(EpisodeScores(values, metric, digest=digest))]


def row(*means: float, spread: float = 10.0, episodes: int = 400, digest: str = "") -> list[Seeds]:
    return [
        cell(RNG.normal(mean, spread, episodes), f"{digest}{number}" if digest else "")
        for number, mean in enumerate(means)
    ]


def places(rows: list[list[Seeds]]) -> list[str]:
    return [str(rank) for rank in rank_over_cells(rows)]


def over(cells: list[Seeds]) -> tuple[float, float | None]:
    found = mean_over_cells(cells)
    assert found is not None
    return found.mean, found.half_width


def test_the_mean_counts_every_cell_once() -> None:
    assert over([cell(np.full(10, 20.0)), cell(np.full(1000, 80.0))]) == (50.0, None)


def test_the_interval_covers_the_mean_of_means_19_times_in_20() -> None:
    inside = 0
    for _ in range(1000):
        mean, half = over([*row(60.0, 70.0, episodes=40), *row(80.0, spread=30.0, episodes=25)])
        assert half is not None
        inside += abs(mean - 70.0) <= half
    assert 930 <= inside <= 968


def test_methods_that_cannot_be_told_apart_share_a_rank() -> None:
    assert places([row(60, 70), row(80, 90), row(80.1, 90), row(20, 30)]) == ["3", "1=", "1=", "4"]


def test_pairing_tells_apart_what_chance_hides() -> None:
    base = row(60, 70, spread=20.0, digest="same")
    scores = [run.scores for (run,) in base]
    better = [cell(each.values + RNG.normal(0.5, 1.0, len(each.values)), each.digest) for each in scores]
    assert places([base, better]) == ["2", "1"]
    unpaired = [cell(run.scores.values) for (run,) in better]
    assert places([base, unpaired]) == ["1=", "1="]


def test_a_gain_in_one_cell_and_a_loss_in_another_are_weighed() -> None:
    assert places([row(60, 80), row(80, 60)]) == ["1=", "1="]
    assert places([row(60, 80), row(90, 60)]) == ["2", "1"]


def test_scores_that_do_not_vary() -> None:
    assert places([[cell(np.full(50, 50.0), "a")], [cell(np.full(50, 60.0), "a")]]) == ["2", "1"]


def test_a_cell_of_one_episode_has_no_interval_and_its_method_no_rank() -> None:
    """Not a variance of zero, which would make the mean over the cells look certain."""
    one, many, other = cell(np.array([50.0])), row(60)[0], row(70, 80)
    assert mean_over_cells([one, many]) is None
    assert places([[one, many], other, row(20, 30)]) == ["None", "1", "2"]


def test_one_method_is_first() -> None:
    assert places([row(50)]) == ["1"]
    mean, half = over(row(50))
    assert math.isclose(mean, 50, abs_tol=3)
    assert half is not None


def test_lower_may_be_better() -> None:
    error = Metric("mse", higher_is_better=False)
    low, high = (cell(RNG.normal(mean, 1.0, 200), "", error) for mean in (2.0, 5.0))
    assert places([[low], [high]]) == ["1", "2"]
    assert over([high])[0] == pytest.approx(5.0, abs=0.5)
