"""Means over seeds and cells: by hand, by simulation, and where the spread of seeds must be in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from metabench.comparison.seed_groups import over_seeds
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.mean_moments import Seeds
from metabench.statistics.means import compare_means, mean_over_cells
from metabench.statistics.shared_episodes import Run
from metabench.statistics.summary import summarise
from tests.record_factory import make_record

RANDOM = np.random.default_rng(11)


def _seeds(spread: float, lengths: tuple[int, ...], common: NDArray[np.float64]) -> Seeds:
    """Runs of one stream: what all methods have in common in an episode, each seed's level, and noise."""
    values = [common[:length] + RANDOM.normal(0, spread) + RANDOM.normal(0, 3, length) for length in lengths]
    return [Run(EpisodeScores(each, digest=str(len(each))), "stream") for each in values]


def _half(cells: list[Seeds]) -> tuple[float, float]:
    found = mean_over_cells(cells)
    assert found is not None
    assert found.half_width is not None
    return found.mean, found.half_width


def test_the_mean_over_one_cell_has_the_interval_of_the_cell() -> None:
    base = RANDOM.integers(20, 40, 200)
    runs = [make_record((base + shift).tolist(), training__seed=seed) for seed, shift in enumerate((0, 6))]
    (group,) = over_seeds(runs)
    mean, half = _half([[run.run for run in runs]])
    assert (mean, half) == (pytest.approx(group.score), pytest.approx(group.total95))
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, 1) * 4, rel=0.02)  # seeds 8 points apart, sd / sqrt(2) = 4


def test_a_cell_at_the_ceiling_is_no_certain_part_of_the_mean() -> None:
    """Its Clopper-Pearson interval counts: alone, and in the mean with another cell."""
    ceiling = make_record((75,) * 40, training=None)
    other = make_record(RANDOM.integers(20, 40, 40).tolist(), training=None)
    halves = [record.summary.ci95 for record in (ceiling, other)]
    assert _half([[ceiling.run]])[1] == pytest.approx(halves[0], rel=1e-5)
    few, t = EpisodeScores.of_counts([5, 5], 5), scipy.stats.t.ppf(0.975, 1)
    bound, level = summarise(few).ci95, scipy.stats.t.ppf(0.975, 39)
    assert bound is not None
    parts = [(bound / t) ** 2 / 4, (halves[1] / level) ** 2 / 4]
    df = sum(parts) ** 2 / (parts[0] ** 2 + parts[1] ** 2 / 39)
    _, half = _half([[Run(few)], [other.run]])
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, df) * math.sqrt(sum(parts)), rel=1e-5)


def test_the_spread_of_seeds_is_in_the_mean_over_cells() -> None:
    """Two cells whose seeds are 8 points apart, of different trainings: half the variance of one."""
    cells = []
    for _ in range(2):
        common = RANDOM.normal(50, 5, 400)
        cells.append([Run(EpisodeScores(common + level, digest="d"), "stream") for level in (0.0, 8.0, 4.0)])
    _, half = _half(cells)
    variance = 2 * 16 / 3 / 4
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, 4) * math.sqrt(variance), rel=0.05)


def test_the_same_trainings_in_two_cells_are_not_independent() -> None:
    """What a model gains in one cell it gains in the other: the mean is as uncertain as one cell."""
    levels, widths = (0.0, 8.0, 4.0), []
    for names in (("a", "b", "c"), ("", "", "")):
        commons = [RANDOM.normal(50, 0.5, 400) for _ in range(2)]
        cells = [
            [Run(EpisodeScores(c + level, digest="d"), "s", name) for level, name in zip(levels, names, strict=True)]
            for c in commons
        ]
        widths.append(_half(cells)[1])
    assert widths[0] == pytest.approx(scipy.stats.t.ppf(0.975, 2) * math.sqrt(16 / 3), rel=0.01)
    assert widths[1] < 0.5 * widths[0]


def test_seeds_that_stopped_early_share_the_luck_of_their_first_episodes() -> None:
    """By hand: the spread over three, and the covariances of the prefix over the longer length."""
    runs = _seeds(0.5, (70, 60, 70), RANDOM.normal(50, 9, 70))
    rows = [run.scores.values for run in runs]
    seeds = np.var([row.mean() for row in rows], ddof=1) / 3
    pairs = [(0, 1, 60), (0, 2, 70), (1, 2, 60)]
    shared = np.mean([np.cov(rows[i][:n], rows[j][:n])[0, 1] / 70 for i, j, n in pairs])
    found = mean_over_cells([runs])
    assert found is not None
    assert found.mean == pytest.approx(np.mean([row.mean() for row in rows]))
    assert found.variance == pytest.approx(seeds + shared)
    caution = 2 / scipy.stats.chi2.ppf(0.25, 2) * seeds
    assert found.df == pytest.approx((caution + shared) ** 2 / (caution**2 / 2 + shared**2 / 59))


def test_it_is_never_narrower_than_for_these_trainings() -> None:
    """Seeds whose noise happens to cancel."""
    noise = RANDOM.normal(0, 5, 100)
    rows = [50 + noise - noise.mean(), 50 - noise + noise.mean()]
    found = mean_over_cells([[Run(EpisodeScores(row, digest="d")) for row in rows + rows[:1]]])
    alone = np.mean(rows + rows[:1], axis=0).var(ddof=1) / 100
    assert found is not None
    assert found.variance >= alone * (1 - 1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("lengths", [(70, 60, 70), (70, 60, 70, 60, 70), (70, 70, 70)])
def test_it_covers_the_mean_over_trainings_19_times_in_20(spread: float, lengths: tuple[int, ...]) -> None:
    inside = 0
    for _ in range(600):
        mean, half = _half([_seeds(spread * 3, lengths, RANDOM.normal(50, 9, 70))])
        inside += abs(mean - 50) <= half
    assert 0.92 <= inside / 600 <= 0.985


@pytest.mark.parametrize(("lengths", "cells"), [((60, 60), 1), ((200, 30), 1), ((60, 60), 3)])
def test_two_seeds_cover_where_their_spread_is_that_of_the_episodes(lengths: tuple[int, int], cells: int) -> None:
    """Noise that is common to the seeds and of their own: two that agree by luck would cover 87 to 92 %."""
    random, inside, repetitions = np.random.default_rng(7), 0, 2000
    for _ in range(repetitions):
        levels, measured = random.normal(0, 3, 2), []
        for _ in range(cells):
            common = random.normal(0, 6, max(lengths))
            rows = [common[:n] + level + random.normal(0, 6, n) for n, level in zip(lengths, levels, strict=True)]
            measured.append([Run(EpisodeScores(row, digest=str(len(row))), "s", f"w{i}") for i, row in enumerate(rows)])
        mean, half = _half(measured)
        inside += abs(mean) <= half
    assert 0.935 <= inside / repetitions <= 0.99


def test_two_seeds_have_the_half_widths_of_seeds_and_episodes_in_quadrature() -> None:
    common = RANDOM.normal(50, 6, 300)
    seeds = [
        Run(EpisodeScores(common + level + RANDOM.normal(0, 2, 300), digest="d"), "s", str(level)) for level in (0, 1)
    ]
    rows = np.stack([run.scores.values for run in seeds])
    of_seeds = scipy.stats.t.ppf(0.975, 1) * rows.mean(1).std(ddof=1) / math.sqrt(2)
    of_episodes = scipy.stats.t.ppf(0.975, 299) * math.sqrt(np.cov(rows)[0, 1] / 300)
    assert _half([seeds])[1] == pytest.approx(math.hypot(of_seeds, of_episodes))
    closed = scipy.stats.t.ppf(0.975, 299) * common.std(ddof=1) / math.sqrt(300)
    alike = [Run(EpisodeScores(common + level, digest="d"), "s", str(level)) for level in (0.0, 1e-9)]
    assert _half([alike])[1] == pytest.approx(closed)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_same_method_twice_is_seldom_called_different(seeds: int) -> None:
    rejected = 0
    for _ in range(400):
        common = RANDOM.normal(50, 9, 400)
        _, p = compare_means([[_seeds(2.0, (400,) * seeds, common)] for _ in range(2)])
        rejected += p[0, 1] <= 0.05
    assert rejected / 400 <= 0.08


def test_methods_of_the_same_trained_models_are_compared_model_by_model() -> None:
    """Two ways to use three trained models: the models are far apart, the ways are not."""
    common = RANDOM.normal(50, 9, 300)
    levels = (0.0, 10.0, 20.0)
    one = [Run(EpisodeScores(common + level, digest="d"), "s", f"w{level}") for level in levels]
    two = [
        Run(EpisodeScores(run.scores.values + 1 + RANDOM.normal(0, 0.5, 300), digest="d"), "s", run.weights)
        for run in one
    ]
    gaps, p = compare_means([[one], [two]])
    assert gaps[1, 0] == pytest.approx(1.0, abs=0.1)
    assert p[0, 1] < 0.001
    _, apart = compare_means([[one], [[Run(run.scores, run.stream, run.weights + "x") for run in two]]])
    assert apart[0, 1] > 0.5


def test_what_methods_with_seeds_share_is_taken_out_of_their_difference() -> None:
    """By hand: spreads of 3 and 4 seeds, and twice the covariance between the methods."""
    common = RANDOM.normal(50, 9, 200)
    a, b = _seeds(1.0, (200,) * 3, common), _seeds(1.0, (200,) * 4, common)
    rows = np.stack([run.scores.values for run in [*a, *b]])
    c = np.cov(rows) / 200
    inside = [c[i : i + n, i : i + n] for i, n in ((0, 3), (3, 4))]
    own = [(block.sum() - np.trace(block)) / block.shape[0] / (block.shape[0] - 1) for block in inside]
    shared = max(0.0, sum(own) - 2 * c[:3, 3:].mean())
    spreads = [rows[:3].mean(1).var(ddof=1) / 3, rows[3:].mean(1).var(ddof=1) / 4]
    below = spreads[0] ** 2 / 2 + spreads[1] ** 2 / 3
    df = sum(spreads) ** 2 / below
    cautious = sum(spreads) * df / scipy.stats.chi2.ppf(0.25, df)
    freedom = (cautious + shared) ** 2 / (cautious**2 / df + shared**2 / 199)
    gaps, p = compare_means([[a], [b]])
    t = gaps[0, 1] / math.sqrt(sum(spreads) + shared)
    assert p[0, 1] == pytest.approx(2 * scipy.stats.t.sf(abs(t), freedom))
