from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.leaderboard.entries import Entry
from metabench.leaderboard.rows import CellResult, group_rows
from metabench.statistics.multiple_testing import ALPHA, holm, holm_rejects
from metabench.statistics.pairwise_tests import compare_runs
from metabench.statistics.shared_episodes import Run
from metabench.statistics.tied_ranks import compare_rows, places, rank, rank_text
from tests.record_factory import make_record


def _results(*rows: list[int], digests: tuple[str, ...] = ()) -> list[CellResult]:
    """One result per row of correct answers out of 75, in the order given."""
    found = []
    for number, row in enumerate(rows):
        digest = digests[number] if digests else "cd" * 32
        record = make_record(tuple(row), algorithm__name=f"a{number}", episodes_digest=digest)
        (line,) = group_rows([Entry(record, "")])
        found += line.cells.values()
    return found


def _records(results: list[CellResult]) -> list[Run]:
    return [result.entries[0].record.run for result in results]


def _noisy(mean: float, seed: int, episodes: int = 200) -> list[int]:
    shared = np.random.default_rng(0).normal(0, 6, episodes)
    own = np.random.default_rng(seed).normal(0, 1.5, episodes)
    return np.clip(np.rint(mean + shared + own), 0, 75).astype(int).tolist()


COUNTS = st.lists(st.integers(0, 75), min_size=4, max_size=4)


@settings(max_examples=60)
@given(
    st.lists(COUNTS, min_size=2, max_size=5), st.lists(st.sampled_from(["cd" * 32, "ef" * 32]), min_size=5, max_size=5)
)
def test_every_pair_is_compared_as_two_records_are(rows: list[list[int]], digests: list[str]) -> None:
    results = _results(*rows, digests=tuple(digests))
    gaps, p = compare_rows(results)
    records = _records(results)
    for i, j in itertools.permutations(range(len(rows)), 2):
        found = compare_runs(records[i], records[j])
        assert gaps[i, j] == pytest.approx(found.mean, abs=1e-9)
        both_constant = found.note.endswith("neither varies between episodes")
        if both_constant:  # there the exact permutation test, here the sign-flip one: neither can reject so few
            assert min(p[i, j], found.p) > 0.02
        else:
            assert p[i, j] == pytest.approx(found.p, rel=1e-6, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_what_is_rejected_is_what_holm_adjusts_below_alpha(values: list[float]) -> None:
    size = next(k for k in range(2, 9) if k * (k - 1) // 2 >= len(values))
    above = np.triu_indices(size, 1)
    padded = [*values, *[1.0] * (len(above[0]) - len(values))]
    p = np.ones((size, size))
    p[above] = padded
    p.T[above] = padded
    rejected = holm_rejects(p)[above]
    adjusted = holm(padded)
    # ties with the border case may fall either way by rounding; leave them out
    clear = [index for index, value in enumerate(adjusted) if abs(value - ALPHA) > 1e-9]
    assert [bool(rejected[i]) for i in clear] == [adjusted[i] <= ALPHA for i in clear]


def test_the_rank_is_one_more_than_the_number_of_better_rows() -> None:
    results = _results(_noisy(60, 1), _noisy(60.05, 2), _noisy(50, 3), _noisy(20, 4))
    assert [str(place) for place in rank(results)] == ["1=", "1=", "3", "4"]


def test_not_told_apart_is_not_transitive() -> None:
    """A is better than C, and B can be told from neither: C alone has a worse rank, and B shares the first."""
    shift = np.array([0, 1] * 100)
    base = np.full(200, 50)
    noise = np.random.default_rng(1).integers(-20, 21, 200)
    results = _results((base + 1 + shift).tolist(), (base + 1 + noise).tolist(), (base + shift).tolist())
    _, p = compare_rows(results)
    assert p[0, 2] < 0.001
    assert min(p[0, 1], p[1, 2]) > 0.05
    assert [str(place) for place in rank(results)] == ["1=", "1=", "2"]


def test_the_same_answers_tie_and_a_single_row_is_first() -> None:
    row = _noisy(60, 1)
    assert [str(place) for place in rank(_results(row, row))] == ["1=", "1="]
    assert [str(place) for place in rank(_results(row))] == ["1"]
    assert rank([]) == []


def test_one_episode_has_no_rank() -> None:
    """Neither is it told from others nor does it count among those that a rank is of."""
    assert rank(_results([75], [0])) == [None, None]
    digests = ("ab" * 32, "cd" * 32, "cd" * 32)
    found = rank(_results([8], _noisy(68, 1), _noisy(38, 2), digests=digests))
    assert [rank_text(place) for place in found] == ["-", "1", "2"]


def test_a_row_that_hardly_anything_is_known_of_does_not_overtake_a_better_one() -> None:
    """The second of two paired rows is told from the first; the third, a little worse, of few other episodes is not."""
    rng = np.random.default_rng(3)
    best = rng.integers(20, 71, 2000)
    second = best - (rng.random(2000) < 0.4)
    third = rng.integers(18, 69, 60)
    third -= round(float(third.mean() - second.mean())) + 1
    results = _results(best.tolist(), second.tolist(), third.tolist(), digests=("ab" * 32, "ab" * 32, "cd" * 32))
    third_mean = results[2].merit
    assert third_mean < results[1].merit < results[0].merit
    _, p = compare_rows(results)
    assert p[0, 1] < 0.001
    assert p[0, 2] > 0.05
    assert [str(place) for place in rank(results)] == ["1", "2=", "2="]


@settings(max_examples=200)
@given(st.integers(1, 7), st.randoms(use_true_random=False))
def test_no_row_ever_ranks_before_one_with_a_better_mean(size: int, random: Any) -> None:
    """Whatever the tests say, they need not even go together."""
    means = np.array([random.choice((50.0, 51.0, 52.5, 60.0)) for _ in range(size)])
    p = np.ones((size, size))
    for i, j in itertools.combinations(range(size), 2):
        p[i, j] = p[j, i] = random.choice((1e-9, 1e-3, 0.2, 1.0))
    gaps = means[:, None] - means[None, :]
    found = [place.place for place in places(means, gaps, p)]
    counts = 1 + (holm_rejects(p) & (gaps > 0)).sum(0)
    for i, j in itertools.permutations(range(size), 2):
        if means[i] > means[j]:
            assert found[i] <= found[j]
        if means[i] == means[j]:
            assert found[i] == found[j]
    assert all(place >= count for place, count in zip(found, counts, strict=True))
    assert set(found) <= set(counts.tolist())  # no more than the order asks for


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 75), min_size=1, max_size=6), min_size=2, max_size=5),
    st.lists(st.sampled_from(["cd" * 32, "ef" * 32]), min_size=5, max_size=5),
)
def test_ranks_of_rows_of_any_length_follow_their_means(rows: list[list[int]], digests: list[str]) -> None:
    results = _results(*rows, digests=tuple(digests))
    found = [(result.merit, place.place) for result, place in zip(results, rank(results), strict=True) if place]
    assert all(not (a > b and i > j) for (a, i), (b, j) in itertools.permutations(found, 2))
    assert [place is None for place in rank(results)] == [len(row) == 1 for row in rows]


def _seeded(name: str, rows: list[list[int]]) -> CellResult:
    records = [make_record(tuple(row), algorithm__name=name, training__seed=seed) for seed, row in enumerate(rows)]
    (line,) = group_rows([Entry(record, "") for record in records])
    (result,) = line.cells.values()
    return result


def test_several_seeds_are_told_apart_by_their_trainings() -> None:
    """Seeds 4 points apart: trainings of one method may be as far from each other as the two methods are."""
    levels = ((50, 53, 56), (51, 54, 57), (70, 73, 76))
    rows = [
        [np.minimum(np.array(_noisy(level - 10, 10 * number + level)), 75).tolist() for level in each]
        for number, each in enumerate(levels)
    ]
    results = [_seeded(f"a{number}", each) for number, each in enumerate(rows)]
    assert [str(place) for place in rank(results)] == ["2=", "2=", "1"]
    alone = [_seeded(f"b{number}", each[:1]) for number, each in enumerate(rows)]
    assert [str(place) for place in rank(alone)] == ["3", "2", "1"]


def test_pairing_finds_what_welch_does_not() -> None:
    better, worse = _noisy(51, 1), _noisy(50, 2)
    assert [str(place) for place in rank(_results(better, worse))] == ["1", "2"]
    unpaired = _results(better, worse, digests=("cd" * 32, "ef" * 32))
    assert [str(place) for place in rank(unpaired)] == ["1=", "1="]
