"""Methods over many datasets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from metabench.statistics.dataset_ranking import (
    _interval,
    critical_difference,
    friedman,
    iman_davenport,
    mean_ranks,
    rank_methods,
    wilcoxon,
)
from tests.raw_data import needs_raw_data, raw_scores

# Three methods (NCC, LR, finetune) on nine datasets: the only rankings with the mean ranks of the vector and one pair
# of equal scores, which its two statistics imply.
NINE = np.array([[1, 3, 2]] * 6 + [[1, 2, 3]] * 2 + [[1, 1, 2]])
TABLES = arrays.arrays(
    np.int64, st.tuples(st.integers(2, 12), st.integers(3, 6)), elements=st.integers(0, 9)
).filter(lambda table: any(len(set(row)) > 1 for row in table.tolist()))  # fmt: skip


def test_the_vector_of_nine_datasets() -> None:
    found = rank_methods(NINE)
    assert found.mean_ranks == pytest.approx((2.9444, 1.3889, 1.6667), abs=5e-5)
    assert (found.chi2, found.chi2_ties) == (pytest.approx(12.3889, abs=5e-5), pytest.approx(12.7429, abs=5e-5))
    assert found.p_friedman == pytest.approx(0.0017097, abs=5e-8)
    # 17.6634 is published, from the statistic without the correction; with ties the analysis of variance gives more.
    assert iman_davenport(found.chi2, 9, 3) == pytest.approx(17.6634, abs=5e-5)
    assert scipy.stats.f.sf(17.6634, 2, 16) == pytest.approx(8.917e-5, abs=5e-9)
    assert found.f == pytest.approx(19.3913, abs=5e-5)
    assert found.f == pytest.approx(_variance_ratio(NINE))
    # The published 1.1045 takes 2.343 from a printed table; 2.3437 is exact.
    assert found.critical_difference == pytest.approx(1.1045, abs=5e-4)
    assert found.critical_difference == pytest.approx(1.1045 * 2.34370 / 2.343, abs=5e-5)
    assert [(pair.first, pair.second, pair.nemenyi) for pair in found.pairs] == [
        (0, 1, True), (0, 2, True), (1, 2, False),
    ]  # fmt: skip
    assert found.note == "only 9 datasets: a rough guide"


@pytest.mark.parametrize(
    ("alpha", "values"),
    [
        (0.05, [1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164]),
        (0.10, [1.645, 2.052, 2.291, 2.460, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_the_quantiles_behind_the_critical_difference(alpha: float, values: list[float]) -> None:
    for k, value in zip(range(2, 11), values, strict=True):
        found = critical_difference(k, 1, alpha) / (k * (k + 1) / 6) ** 0.5
        assert found == pytest.approx(value, abs=1.1e-3 if k > 8 else 6e-4)


def test_two_datasets_and_nine_methods() -> None:
    """A critical difference larger than any difference of ranks: nothing can be told from two datasets."""
    assert critical_difference(9, 2) == pytest.approx(3.102 * (9 * 10 / 12) ** 0.5, abs=5e-3)


@given(TABLES)
def test_friedman_is_that_of_scipy_and_ranks_count_what_is_better(table: np.ndarray) -> None:
    scores = table.astype(float)
    expected = scipy.stats.friedmanchisquare(*scores.T)
    assert friedman(scores)[1] == pytest.approx(expected.statistic, abs=1e-9)
    better, equal = (compare(scores[:, None, :], scores[:, :, None]).sum(2) for compare in (np.greater, np.equal))
    np.testing.assert_array_equal(mean_ranks(scores), (better + (equal + 1) / 2).mean(0))


@pytest.mark.realdata
@needs_raw_data
def test_wilcoxon_on_raw_data() -> None:
    d = raw_scores()["dtd", "clip", "LR", 1] - raw_scores()["dtd", "clip", "NCC", 1]
    assert wilcoxon(d.tolist()) == pytest.approx(0.004414, abs=5e-7)
    same = raw_scores()["cub", "dinov2", "LR", 1] - raw_scores()["cub", "dinov2", "NCC", 1]
    assert wilcoxon(same.tolist()) == 1.0


@pytest.mark.realdata
@needs_raw_data
def test_the_datasets_at_hand() -> None:
    """Four of the nine: LR is better on all of them, and four datasets cannot show it."""
    means = [
        [raw_scores()[dataset, "clip", name, 1].mean() for name in ("NCC", "LR")]
        for dataset in ("aircraft", "cub", "dtd", "vgg_flower")
    ]
    (pair,) = rank_methods(means).pairs
    assert (pair.wins, pair.ties, pair.losses) == (0, 0, 4)
    assert pair.mean == pytest.approx(-np.subtract(*np.transpose(means)[::-1]).mean())
    assert pair.low is not None
    assert pair.low < pair.mean < pair.high
    assert pair.p_holm == pair.p_wilcoxon == 0.125


def test_the_interval_is_students_over_datasets() -> None:
    scores = np.array([[3.0, 1.0], [5.0, 4.0], [9.0, 3.0]])
    (pair,) = rank_methods(scores).pairs
    expected = scipy.stats.ttest_rel(*scores.T).confidence_interval(0.95)
    assert (pair.low, pair.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


@pytest.mark.parametrize("datasets", [2, 3, 5, 10])
def test_the_interval_over_datasets_covers(datasets: int) -> None:
    """The true difference is 0. Of 2,000 intervals 1,900 should have it; 40 fewer are four standard deviations."""
    random, hits = np.random.default_rng(datasets), 0
    for d in random.standard_normal((2000, datasets)):
        low, high = _interval(d, None)
        assert low is not None
        assert high is not None
        hits += low <= 0 <= high
    assert 1860 <= hits <= 1940


def test_the_interval_over_datasets_stays_within_the_range() -> None:
    (pair,) = rank_methods([[90, 10], [50, 45]], ends=(-100.0, 100.0)).pairs
    assert pair.mean == 42.5
    assert (pair.low, pair.high) == (-100.0, 100.0)


def test_differences_that_are_all_the_same_have_no_interval() -> None:
    (pair,) = rank_methods([[0.3, 0.1], [0.5, 0.3], [0.9, 0.7]]).pairs
    assert (pair.low, pair.high) == (None, None)


def test_methods_that_are_all_equal() -> None:
    found = rank_methods(np.ones((12, 3)))
    assert (found.chi2_ties, found.p_friedman, found.mean_ranks, found.note) == (0.0, 1.0, (2.0, 2.0, 2.0), "")
    assert all((pair.p_holm, pair.nemenyi, pair.ties) == (1.0, False, 12) for pair in found.pairs)


@pytest.mark.parametrize(
    ("datasets", "methods", "p"), [(2, 2, 1 / 2), (3, 2, 1 / 4), (6, 2, 1 / 32), (2, 3, 1 / 6), (6, 3, 6**-5)]
)
def test_a_perfect_order_has_an_exact_p(datasets: int, methods: int, p: float) -> None:
    """Once the first dataset has ranked them, the others must do as it did."""
    found = rank_methods([list(range(methods))] * datasets)
    assert (found.f, found.p_f, found.draws) == (float("inf"), pytest.approx(p), 0)


def _variance_ratio(scores: np.ndarray) -> float:
    """F of a two-way analysis of variance on the ranks, by its sums of squares."""
    ranks = scipy.stats.rankdata(-scores, axis=1)
    n, k = ranks.shape
    residuals = ranks - ranks.mean(0) - ranks.mean(1, keepdims=True) + ranks.mean()
    between = n * ((ranks.mean(0) - ranks.mean()) ** 2).sum() / (k - 1)
    rest = (residuals**2).sum() / ((n - 1) * (k - 1))
    return float(between / rest) if rest > 1e-12 else float("inf")


@given(TABLES)
def test_f_is_that_of_an_analysis_of_variance_on_the_ranks(table: np.ndarray) -> None:
    found = iman_davenport(friedman(table.astype(float))[1], *table.shape)
    assert found == pytest.approx(_variance_ratio(table), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "table",
    [
        [[3, 1, 2], [3, 2, 1], [2, 1, 3], [3, 1, 2]],
        [[1, 1, 2], [3, 2, 1], [2, 2, 3], [1, 1, 1]],
        [[4, 1, 2, 3], [4, 4, 1, 2], [1, 3, 3, 3]],
        [[1, 0]] * 4 + [[0, 1]],
    ],
)
def test_p_counts_all_arrangements(table: list[list[int]]) -> None:
    """One by one, with F itself as the statistic."""
    observed = _variance_ratio(np.array(table))
    rows = [list(itertools.permutations(row)) for row in table]
    reached = [_variance_ratio(np.array(arranged)) >= observed - 1e-9 for arranged in itertools.product(*rows)]
    found = rank_methods(table)
    assert (found.p_f, found.draws) == (pytest.approx(np.mean(reached)), 0)


def test_where_arrangements_are_too_many_some_are_drawn() -> None:
    random = np.random.default_rng(3)
    found = rank_methods(random.standard_normal((10, 6)) + np.arange(6) / 4)
    assert found.draws == 20_000
    assert found.p_f * 20_001 == pytest.approx(round(found.p_f * 20_001))
    assert found.p_f == pytest.approx(scipy.stats.f.sf(found.f, 5, 45), abs=0.01)
    alike = random.standard_normal((12, 8)) + 100 * np.arange(8)
    assert rank_methods(alike).p_f == 1 / 20_001  # never zero
    assert rank_methods(alike) == rank_methods(alike)


def test_four_datasets_cannot_set_two_methods_apart() -> None:
    """Nemenyi's difference, 0.98, is exceeded where one of two always wins, which chance does in one of eight."""
    (pair,) = rank_methods([[2, 1]] * 4).pairs
    assert (pair.nemenyi, pair.p_wilcoxon) == (False, 0.125)
    assert rank_methods([[2, 1]] * 6).pairs[0].nemenyi


@pytest.mark.parametrize("bad", [[[1, 2]], [[1], [2]], [1, 2], [[1, 2], [3, float("nan")]]])
def test_what_cannot_be_ranked(bad: list) -> None:
    with pytest.raises(ValueError, match="at least two"):
        rank_methods(bad)
