"""Episodes that share no image."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.episodes.open_sampling import DisjointSource
from metabench.errors import UsageError
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit


def _rows(source: DisjointSource) -> np.ndarray:
    batch = source.batch(0, source.episodes)
    return np.concatenate([batch.support, batch.query], axis=1)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=12), st.integers(2, 4), st.integers(1, 3), st.integers(1, 4))
def test_no_image_twice_and_distinct_classes(
    make_split: MakeSplit, counts: list[int], way: int, shot: int, query: int
) -> None:
    split, protocol = make_split(counts), FixedWay(way, shot, query)
    if sum(count >= shot + query for count in counts) < way:
        with pytest.raises(UsageError, match="open sampling needs"):
            DisjointSource(protocol, split, "name", 10**6)
        return
    source = DisjointSource(protocol, split, "name", 10**6)
    rows = _rows(source)
    assert len(np.unique(rows)) == rows.size
    batch = source.batch(0, source.episodes)
    classes = np.searchsorted(split.starts, batch.support, side="right") - 1
    assert all(len(set(line)) == way for line in classes[:, ::shot].tolist())
    queried = np.searchsorted(split.starts, batch.query, side="right") - 1
    np.testing.assert_array_equal(classes[:, ::shot], queried[:, ::query])
    np.testing.assert_array_equal(np.diff(classes.reshape(-1, way, shot), axis=2), 0)


@given(st.lists(st.integers(0, 6), min_size=3, max_size=9), st.integers(2, 3))
def test_there_are_as_many_as_the_classes_allow(make_split: MakeSplit, counts: list[int], way: int) -> None:
    """Against the largest T found by trying: Gale and Ryser's condition for one image of a class in an episode."""
    most = max(t for t in range(sum(counts) + 1) if sum(min(count, t) for count in counts) >= way * t)
    split = make_split([2 * count for count in counts])
    if most == 0:
        return
    assert DisjointSource(FixedWay(way, 1, 1), split, 0, 10**6).episodes == most


def test_the_number_is_that_of_the_data(make_split: MakeSplit) -> None:
    """423 classes of 20 images, 5-way 1-shot 15 query: one use of each class, 84 episodes; 20 of 600: 148."""
    assert DisjointSource(FixedWay(5, 1, 15), make_split([20] * 423), 0, 2000).episodes == 84
    assert DisjointSource(FixedWay(5, 1, 15), make_split([600] * 20), 0, 2000).episodes == 148
    assert DisjointSource(FixedWay(5, 1, 15), make_split([600] * 20), 0, 100).episodes == 100


def test_few_large_classes_are_in_every_episode(make_split: MakeSplit) -> None:
    """Four classes with four uses and four with one: four episodes exist, and only if each has the large ones."""
    source = DisjointSource(FixedWay(5, 1, 1), make_split([8, 8, 8, 8, 2, 2, 2, 2]), 0, 99)
    assert source.episodes == 4


def test_classes_are_used_evenly_where_they_need_not_be_used_up(make_split: MakeSplit) -> None:
    source = DisjointSource(FixedWay(2, 1, 1), make_split([100, 10, 10, 4, 1]), 0, 5)
    classes = np.searchsorted(make_split([100, 10, 10, 4, 1]).starts, _rows(source)[:, :2], side="right") - 1
    assert np.bincount(classes.ravel(), minlength=5).tolist() in ([3, 3, 2, 2, 0], [3, 2, 3, 2, 0], [2, 3, 3, 2, 0])


def test_asking_in_parts_changes_nothing(make_split: MakeSplit) -> None:
    source = DisjointSource(FixedWay(5, 1, 15), make_split([20, 40, 33] * 30), {"seed": 1}, 2000)
    whole = _rows(source)
    parts = [source.batch(start, min(start + 7, source.episodes)) for start in range(0, source.episodes, 7)]
    np.testing.assert_array_equal(whole[:, :5], np.concatenate([part.support for part in parts]))
    again = DisjointSource(FixedWay(5, 1, 15), make_split([20, 40, 33] * 30), {"seed": 1}, 2000)
    np.testing.assert_array_equal(whole, _rows(again))
    other = DisjointSource(FixedWay(5, 1, 15), make_split([20, 40, 33] * 30), {"seed": 2}, 2000)
    assert not np.array_equal(whole, _rows(other))


def test_the_sequence_is_pinned(make_split: MakeSplit) -> None:
    """A changed digest means other episodes for the same run key: bump the version of what changed."""
    source = DisjointSource(FixedWay(3, 1, 2), make_split([9, 7, 12, 3, 2]), ["pinned", 0], 100)
    found = hashlib.sha256(np.ascontiguousarray(_rows(source), dtype="<i8").tobytes()).hexdigest()
    assert found == "a77fb9ff0f91da1acdbc3dbcfe3a74493b07168acddf1e3af35b55af64f7686f"


def test_every_image_and_pairing_has_its_chance(make_split: MakeSplit) -> None:
    """Over many names, each image is a support image equally often and each pair of classes meets equally often."""
    support, meet = np.zeros(24), np.zeros((6, 6))
    for seed in range(600):
        batch = DisjointSource(FixedWay(2, 1, 3), make_split([4] * 6), seed, 99).batch(0, 3)
        np.add.at(support, batch.support.ravel(), 1)
        np.add.at(meet, tuple((batch.support // 4).T), 1)
    assert support.sum() == 600 * 6
    assert np.abs(support - 150).max() < 5 * (600 * 0.25 * 0.75) ** 0.5
    pairs = (meet + meet.T)[np.triu_indices(6, 1)]
    assert np.abs(pairs - 120).max() < 5 * (600 * 0.2 * 0.8) ** 0.5
    assert np.abs(meet.sum(1) - 300).max() < 5 * (600 * 0.5 * 0.5) ** 0.5  # the first label favours no class


def test_a_protocol_without_it_is_told_so(make_split: MakeSplit) -> None:
    class Other:
        n_query = 1

    with pytest.raises(UsageError, match="no open sampling"):
        DisjointSource(Other(), make_split([4, 4]), 0, 9)  # type: ignore[arg-type]
