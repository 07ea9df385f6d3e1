"""Methods over many data sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from metabench.ranking import critical_difference, friedman, mean_ranks, range_quantile, rank_methods, wilcoxon
from tests.raw_data import needs_raw_data, raw_scores

# Three methods (NCC, LR, finetune) on nine data sets: the only rankings with the mean ranks of the vector and one pair
# of equal scores, which its two statistics imply.
NINE = np.array([[1, 3, 2]] * 6 + [[1, 2, 3]] * 2 + [[1, 1, 2]])
TABLES = arrays.arrays(
    np.int64, st.tuples(st.integers(2, 12), st.integers(3, 6)), elements=st.integers(0, 9)
).filter(lambda table: any(len(set(row)) > 1 for row in table.tolist()))  # fmt: skip


def test_the_vector_of_nine_data_sets() -> None:
    found = rank_methods(NINE)
    assert found.mean_ranks == pytest.approx((2.9444, 1.3889, 1.6667), abs=5e-5)
    assert (found.chi2, found.chi2_ties) == (pytest.approx(12.3889, abs=5e-5), pytest.approx(12.7429, abs=5e-5))
    assert found.p_friedman == pytest.approx(0.0017097, abs=5e-8)
    assert (found.f, found.p_f) == (pytest.approx(17.6634, abs=5e-5), pytest.approx(8.917e-5, abs=5e-9))
    # The published 1.1045 takes 2.343 from a printed table; 2.3437 is exact.
    assert found.critical_difference == pytest.approx(1.1045, abs=5e-4)
    assert found.critical_difference == pytest.approx(1.1045 * 2.34370 / 2.343, abs=5e-5)
    assert [(pair.first, pair.second, pair.nemenyi) for pair in found.pairs] == [
        (0, 1, True), (0, 2, True), (1, 2, False),
    ]  # fmt: skip
    assert found.note == "only 9 data sets: a rough guide"


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


def test_the_quantile_is_that_of_scipy() -> None:
    assert range_quantile(0.95, 5) == pytest.approx(scipy.stats.studentized_range.ppf(0.95, 5, np.inf), abs=1e-6)


def test_two_data_sets_and_nine_methods() -> None:
    """A critical difference larger than any difference of ranks: nothing can be told from two data sets."""
    assert critical_difference(9, 2) == pytest.approx(3.102 * (9 * 10 / 12) ** 0.5, abs=5e-3)


@given(TABLES)
def test_friedman_and_ranks_are_those_of_scipy(table: np.ndarray) -> None:
    scores = table.astype(float)
    expected = scipy.stats.friedmanchisquare(*scores.T)
    assert friedman(scores)[1] == pytest.approx(expected.statistic, abs=1e-9)
    np.testing.assert_allclose(mean_ranks(scores), scipy.stats.rankdata(-scores, axis=1).mean(0))


@pytest.mark.realdata
@needs_raw_data
def test_wilcoxon_on_raw_data() -> None:
    d = raw_scores()["dtd", "clip", "LR", 1] - raw_scores()["dtd", "clip", "NCC", 1]
    assert wilcoxon(d.tolist()) == pytest.approx(0.004414, abs=5e-7)
    same = raw_scores()["cub", "dinov2", "LR", 1] - raw_scores()["cub", "dinov2", "NCC", 1]
    assert wilcoxon(same.tolist()) == 1.0


@pytest.mark.realdata
@needs_raw_data
def test_the_data_sets_at_hand() -> None:
    """Four of the nine: LR is better on all of them, and four data sets cannot show it."""
    means = [
        [raw_scores()[dataset, "clip", name, 1].mean() for name in ("NCC", "LR")]
        for dataset in ("aircraft", "cub", "dtd", "vgg_flower")
    ]
    (pair,) = rank_methods(means).pairs
    assert (pair.wins, pair.ties, pair.losses) == (0, 0, 4)
    assert pair.mean == pytest.approx(-np.subtract(*np.transpose(means)[::-1]).mean())
    assert pair.low < pair.mean < pair.high < 0
    assert pair.p_holm == pair.p_wilcoxon == 0.125


def test_the_bootstrap_resamples_data_sets() -> None:
    scores = np.stack([np.arange(30.0) % 7, np.zeros(30)], axis=1)
    (pair,) = rank_methods(scores).pairs
    half = 1.96 * scores[:, 0].std() / 30**0.5
    assert pair.high - pair.low == pytest.approx(2 * half, rel=0.05)
    assert rank_methods(scores) == rank_methods(scores)


def test_methods_that_are_all_equal() -> None:
    found = rank_methods(np.ones((12, 3)))
    assert (found.chi2_ties, found.p_friedman, found.mean_ranks, found.note) == (0.0, 1.0, (2.0, 2.0, 2.0), "")
    assert all((pair.p_holm, pair.nemenyi, pair.ties) == (1.0, False, 12) for pair in found.pairs)


def test_a_perfect_order_has_an_infinite_f() -> None:
    found = rank_methods([[1, 2, 3]] * 6)
    assert (found.f, found.p_f) == (float("inf"), 0.0)


@pytest.mark.parametrize("bad", [[[1, 2]], [[1], [2]], [1, 2], [[1, 2], [3, float("nan")]]])
def test_what_cannot_be_ranked(bad: list) -> None:
    with pytest.raises(ValueError, match="at least two"):
        rank_methods(bad)
