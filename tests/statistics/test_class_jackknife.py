"""The variance over new classes, against simulations where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metabench.statistics.class_jackknife import ClassLevel, class_level
from metabench.statistics.student_t import t_quantile

Floats = NDArray[np.float64]


def _sums(scores: Floats, members: NDArray[np.int64], classes: int) -> tuple[NDArray[np.int64], Floats]:
    """Episodes and total score of each class, from (T,) scores and (T, way) classes."""
    weights = np.repeat(scores, members.shape[1])
    return np.bincount(members.ravel(), minlength=classes), np.bincount(members.ravel(), weights, classes)


def _draw(
    random: np.random.Generator, classes: int, episodes: int, effect: float, way: int = 5
) -> tuple[Floats, NDArray[np.int64]]:
    """An episode's score is the mean of its classes' effects (sd `effect`) and noise (sd 1)."""
    effects = effect * random.standard_normal(classes)
    members = np.argpartition(random.random((episodes, classes)), way, axis=1)[:, :way]
    return effects[members].mean(1) + random.standard_normal(episodes), members


def _found(scores: Floats, members: NDArray[np.int64], classes: int) -> ClassLevel:
    found = class_level(scores, *_sums(scores, members, classes))
    assert found is not None
    return found


@pytest.mark.parametrize(("classes", "episodes", "effect"), [(20, 1000, 1.0), (60, 400, 1.0), (200, 500, 2.0)])
def test_the_parts_are_what_they_estimate(classes: int, episodes: int, effect: float) -> None:
    """Over 200 test sets: the variance between classes over their number, and that of an episode over theirs."""
    random = np.random.default_rng(0)
    found = [_found(*_draw(random, classes, episodes, effect), classes) for _ in range(200)]
    assert np.mean([each.data for each in found]) == pytest.approx(effect**2 / classes, rel=0.1)
    between = effect**2 / 5 * (classes - 5) / (classes - 1)  # of the mean of five of the classes there are
    assert np.mean([each.sampling for each in found]) == pytest.approx((1 + between) / episodes, rel=0.1)


@pytest.mark.parametrize("way", [5, 1])
@pytest.mark.parametrize("effect", [0.0, 0.5, 2.0])
def test_the_interval_covers(effect: float, way: int) -> None:
    """The true mean is 0. Of 400 intervals 380 should have it; 15 fewer are 3.4 standard deviations."""
    random, hits = np.random.default_rng(1), 0
    for _ in range(400):
        scores, members = _draw(random, 50, 500, effect, way)
        found = _found(scores, members, 50)
        hits += bool(abs(scores.mean()) <= t_quantile(found.df, 0.95) * found.standard_error)
    assert hits >= 365


def test_with_ever_more_episodes_the_classes_remain() -> None:
    """Every episode of three out of eight classes, without noise: nothing but the jackknife over classes."""
    import itertools

    effects = np.arange(8.0) ** 2
    members = np.array(list(itertools.combinations(range(8), 3)))
    found = _found(effects[members].mean(1), members, 8)
    # The jackknife of a plain mean is exact: the variance of the effects over their number.
    assert found.data + found.sampling == pytest.approx(effects.var(ddof=1) / 8, rel=0.35)
    assert found.data > 3 * found.sampling


def test_episodes_without_a_common_class_are_independent() -> None:
    """Then the class-level variance is Student's, with its degrees of freedom."""
    random = np.random.default_rng(2)
    scores, members = random.standard_normal(40), random.permutation(200).reshape(40, 5)
    found = _found(scores, members, 200)
    assert found.data == pytest.approx(0, abs=1e-12)
    assert found.standard_error == pytest.approx(scores.std(ddof=1) / 40**0.5)
    assert found.df == pytest.approx(39)


def test_even_use_of_classes_takes_their_sampling_away() -> None:
    """Ten rounds that each use all 50 classes: the class part stays 1/50, the rest is the noise of 100 episodes."""
    random, total = np.random.default_rng(3), []
    for _ in range(300):
        effects = 2 * random.standard_normal(50)
        members = np.concatenate([random.permutation(50).reshape(10, 5) for _ in range(10)])
        scores = effects[members].mean(1) + random.standard_normal(100)
        total.append(_found(scores, members, 50).standard_error ** 2)
    assert np.mean(total) == pytest.approx(4 / 50 + 1 / 100, rel=0.1)


def test_classes_that_took_no_part_do_not_count() -> None:
    scores, members = _draw(np.random.default_rng(4), 10, 50, 1.0)
    assert class_level(scores, *_sums(scores, members, 30)) == class_level(scores, *_sums(scores, members, 10))


def test_more_degrees_of_freedom_where_there_is_more_to_see() -> None:
    random = np.random.default_rng(5)
    assert 15 < _found(*_draw(random, 20, 20_000, 3.0), 20).df < 20
    hidden = _found(*_draw(random, 20, 200, 0.0), 20)
    assert 3 <= hidden.df < 8  # four disjoint episodes


def test_scale_and_shift() -> None:
    scores, members = _draw(np.random.default_rng(6), 30, 300, 1.0)
    one, two = _found(scores, members, 30), _found(50 - 10 * scores, members, 30)
    assert two.standard_error == pytest.approx(10 * one.standard_error)
    assert two.df == pytest.approx(one.df)


@pytest.mark.parametrize("members", [[[0, 1]], [[0, 1], [1, 0], [0, 1]]])
def test_what_cannot_tell(members: list[list[int]]) -> None:
    """One episode; every class in every episode."""
    scores = np.arange(float(len(members)))
    assert class_level(scores, *_sums(scores, np.array(members), 2)) is None


@pytest.mark.parametrize(
    ("classes", "way", "episodes", "effect"), [(22, 20, 600, 2.0), (6, 5, 100, 1.0), (6, 5, 100, 3.0), (3, 2, 100, 1.0)]
)
def test_few_classes_leave_the_noise_in_and_keep_the_degrees_of_freedom(
    classes: int, way: int, episodes: int, effect: float
) -> None:
    """One degree of freedom made 22 classes at 20-way five times as wide as needed; the true mean is 0."""
    random = np.random.default_rng(7)
    centres, halves = [], []
    for _ in range(300):
        scores, members = _draw(random, classes, episodes, effect, way)
        found = _found(scores, members, classes)
        assert found.df >= 2
        centres.append(scores.mean())
        halves.append(t_quantile(found.df, 0.95) * found.standard_error)
    assert np.mean(np.abs(centres) <= halves) >= 0.925  # 0.95 less two standard errors of 300
    assert np.mean(halves) < 2.5 * 1.96 * (effect**2 / classes + 1 / episodes) ** 0.5


def test_the_noise_left_in_is_the_jackknife() -> None:
    scores, members = _draw(np.random.default_rng(8), 22, 600, 0.5, 20)
    found = _found(scores, members, 22)
    without = [scores[(members != c).all(1)].mean() for c in range(22)]
    jackknife = 21 / 22 * float(((np.array(without) - scores.mean()) ** 2).sum())
    assert found.df == 21
    assert found.standard_error**2 == pytest.approx(jackknife, rel=0.1)  # some leave out more episodes than others


def test_two_classes_leave_one_degree_of_freedom_and_no_interval() -> None:
    scores, members = _draw(np.random.default_rng(9), 2, 100, 1.0, 1)
    assert class_level(scores, *_sums(scores, members, 2)) is None


def test_episodes_that_are_all_alike_cannot_tell() -> None:
    """A width of zero would claim that all classes are."""
    members = np.array([[0, 1], [1, 2], [0, 2], [0, 1]])
    for score in (0.0, 1 / 3, 100.0):
        scores = np.full(4, score)
        assert class_level(scores, *_sums(scores, members, 3)) is None
