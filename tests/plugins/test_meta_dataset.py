"""Meta-Dataset's sampler against a plain restatement of its rules, and its distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.open_sampling import DisjointSource
from metabench.errors import UsageError
from metabench.registry.specs import defaults
from metabench.utils.random_streams import Stream
from metabench_protocols.meta_dataset import SPEC, MetaDataset
from tests.plugins.protocol_facts import assert_sound, owners, split_of

LEAST_P = 1e-6
GOLDEN = [
    ({}, [600] * 20, "fb0894170543c04e87b91ef1b18e302199ff5d9479db5b6beeaf9ec6e2dcd454"),
    ({"within_superclass": True}, [20] * 90, "087250e620bc11ae49c5b1c4babaffc3719128becef3573889ee205276fcaee9"),
    (
        {"min_way": 2, "max_way": 4, "max_query": 3, "max_support": 12},
        [5, 9, 2, 30, 600],
        "4359740766cb26fb01fedead849a797d965e3b79fd802a57a35aa4f466e1f821",
    ),
]


def protocol(**options: Any) -> MetaDataset:
    return MetaDataset(**{**defaults(SPEC), **options})


def groups(counts: list[int]) -> tuple[str, ...]:
    return tuple(f"g{label % 3}" for label in range(len(counts)))


def episodes(of: MetaDataset, counts: list[int], number: int, name: Any = "many") -> list[EpisodeBatch]:
    split = split_of(counts, groups(counts))
    of.check(split)
    words = Stream(name, of.width(split)).words(0, number)
    return [of.draw(words[index : index + 1], split) for index in range(number)]


def composition(batch: EpisodeBatch) -> tuple[np.ndarray, int]:
    """Shots of each class, and queries of each."""
    queries = np.bincount(batch.query_labels[0], minlength=batch.way)
    assert len(set(queries.tolist())) == 1
    return np.bincount(batch.support_labels[0], minlength=batch.way), int(queries[0])


@pytest.mark.parametrize("case", GOLDEN, ids=["default", "superclass", "small"])
def test_golden_episodes(case: tuple[dict[str, Any], list[int], str]) -> None:
    import hashlib

    options, counts, expected = case
    found = hashlib.sha256()
    for batch in episodes(protocol(**options), counts, 100, {"golden": 1}):
        found.update(np.concatenate([batch.support, batch.query], axis=1).astype("<i8").tobytes())
    assert found.hexdigest() == expected


@given(st.lists(st.integers(2, 60), min_size=5, max_size=12), st.integers(2, 5), st.integers(0, 3), st.integers(1, 12))
def test_an_episode_is_what_the_protocol_says(counts: list[int], least: int, more: int, max_query: int) -> None:
    of = protocol(min_way=least, max_way=least + more, max_query=max_query, max_support=20, max_support_per_class=7)
    split = split_of(counts)
    for batch in episodes(of, counts, 8):
        assert_sound(batch, split)
        shots, query = composition(batch)
        sizes = split.counts[owners(split, batch.support[0, np.cumsum(shots) - 1])]
        assert least <= batch.way <= least + more
        assert query == min(max_query, sizes.min() // 2)
        assert (shots >= 1).all() and (shots <= sizes - query).all() and shots.sum() <= 20
        assert batch.query.shape[1] <= of.n_query


def test_way_is_uniform_up_to_the_number_of_classes() -> None:
    ways = [batch.way for batch in episodes(protocol(), [40] * 12, 4000)]
    assert chisquare(np.bincount(ways, minlength=13)[5:]).pvalue > LEAST_P and min(ways) == 5


def test_the_composition_is_that_of_the_source() -> None:
    """The rules once more, one class at a time, with the uniform numbers that the sampler used."""
    of, rng = protocol(), np.random.default_rng(0)
    for _ in range(300):
        images = rng.integers(2, 900, int(rng.integers(5, 50)))
        words = rng.integers(0, 2**64, 1 + len(images), dtype=np.uint64)
        uniform = [float(int(word) >> 11) / 2**53 for word in words]
        shots, query = of._composition(words[:1], words[1:], images)
        q = min(10, min(int(n) // 2 for n in images))
        support = min(500, sum(math.floor(uniform[0] * min(100, int(n) - q) + 1) for n in images))
        weight = [int(n) * math.exp(math.log(0.5) + math.log(4) * u) for n, u in zip(images, uniform[1:], strict=True)]
        share = [w / sum(weight) for w in weight]
        wanted = [
            min(math.floor(r * (support - len(images))) + 1, int(n) - q) for r, n in zip(share, images, strict=True)
        ]
        assert query == q
        assert np.abs(shots - wanted).max() <= 1  # the order of a sum may move a floor
        assert (shots == wanted).mean() > 0.9


def test_support_sizes_are_spread_evenly() -> None:
    """Five classes of 1000 at q = 10: the size is the sum of 5 floor(100 beta) + 1, uniform up to 500."""
    of = protocol(max_way=5)
    sizes = []
    for batch in episodes(of, [1000] * 5, 2000):
        shots, _ = composition(batch)
        sizes.append(shots.sum())
    assert kstest(np.asarray(sizes) / 500, "uniform").statistic < 0.05  # whole shots lose up to one a class
    assert max(sizes) <= 500


def test_larger_classes_have_more_shots() -> None:
    batches = episodes(protocol(max_way=5), [400, 100, 100, 100, 100], 400)
    split = split_of([400, 100, 100, 100, 100])
    large = [composition(batch)[0][_label(batch, split)] for batch in batches]
    small = [np.delete(composition(batch)[0], _label(batch, split)).mean() for batch in batches]
    assert np.mean(large) > 2 * np.mean(small)


def _label(batch: EpisodeBatch, split: Any) -> int:
    return int(batch.support_labels[0][owners(split, batch.support[0]) == 0][0])


def test_within_a_superclass() -> None:
    counts = [20] * 30
    split, of = split_of(counts, groups(counts)), protocol(within_superclass=True, max_way=7)
    batches = episodes(of, counts, 300)
    for batch in batches:
        assert_sound(batch, split)
        assert len({split.groups[label] for label in owners(split, batch.support[0])}) == 1
    assert {batch.way for batch in batches} == {5, 6, 7}


def test_rows_of_words_are_used_one_at_a_time() -> None:
    of, split = protocol(), split_of([30] * 9)
    words = Stream("rows", of.width(split)).words(0, 3)
    for index in range(3):
        one, two = of.draw(words[index:], split), of.draw(words[index : index + 1], split)
        assert len(one) == 1
        np.testing.assert_array_equal(one.support, two.support)
        np.testing.assert_array_equal(one.query, two.query)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match=r"5 classes and more cannot be drawn from the split, which has 4"):
        protocol().check(split_of([9] * 4))
    with pytest.raises(UsageError, match=r"from g2, which has 2; use --set protocol\.min_way=2"):
        protocol(within_superclass=True, min_way=3).check(split_of([9] * 8, groups([9] * 8)))
    with pytest.raises(UsageError, match="class 'c1' has 1 image, and two are needed"):
        protocol().check(split_of([9, 1, 9, 9, 9]))
    with pytest.raises(UsageError, match="max_support must be at least 50, not 49"):
        protocol(max_support=49)
    with pytest.raises(UsageError, match="max_way must be at least 5, not 4"):
        protocol(max_way=4)
    with pytest.raises(UsageError, match="log weights must lie between"):
        protocol(min_log_weight=1.0)
    with pytest.raises(UsageError, match="no open sampling"):
        DisjointSource(protocol(), split_of([30] * 9), 0, 9)
