"""Episodes of one super-category, and as many queries as shots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from metabench.episodes.open_sampling import DisjointSource
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.registry.metric import Metric
from metabench.registry.specs import defaults
from metabench_protocols import k_query
from metabench_protocols.fixed_way import FixedWay
from metabench_protocols.within_superclass import SPEC, WithinSuperclass
from tests.plugins.protocol_facts import assert_row_by_row, assert_sound, digest, owners, split_of

LEAST_P = 1e-6
GOLDEN = [
    (
        5,
        1,
        15,
        [20] * 20,
        ("a",) * 5 + ("b",) * 8 + ("c",) * 7,
        "b69224a3641d83ded82fcc1af9592f73c9e0fcbb591cc5baed69dba5c31635ea",
    ),
    (
        3,
        2,
        2,
        [5, 9, 7, 30, 6, 12, 5, 4],
        ("x", "y", "x", "y", "x", "y", "y", "z"),
        "c09f431232aff99a418191a3b92a3db8733f73d203fefb965378130c5ca2a3e1",
    ),
]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case[:3])))
def test_golden_episodes(case: tuple[int, int, int, list[int], tuple[str, ...], str]) -> None:
    way, shot, query, counts, groups, expected = case
    assert digest(WithinSuperclass(way, shot, query), split_of(counts, groups)) == expected


@given(st.integers(2, 3), st.lists(st.sampled_from("abc"), min_size=7, max_size=12), st.integers(0, 2**32))
def test_all_classes_are_of_one_group(way: int, groups: list[str], seed: int) -> None:
    split = split_of([5] * len(groups), tuple(groups))
    batch = EpisodeSource(WithinSuperclass(way, 2, 3), split, seed).batch(0, 8)
    assert_sound(batch, split)
    for rows in batch.support:
        assert len({groups[of] for of in owners(split, rows)}) == 1


def test_groups_are_what_the_record_sums_over() -> None:
    groups = ("b", "a", "b", "a", "b", "a", "tiny")
    split = split_of([5] * 7, groups)
    source = EpisodeSource(WithinSuperclass(2, 1, 2), split, "sums")
    batch, scores = source.batch(0, 40), np.linspace(0, 1, 40)
    tally = source.tally()
    for rows in (slice(0, 7), slice(7, 40)):
        tally.update(source.batch(rows.start, rows.stop))
    of = np.array(["ba".index(groups[owners(split, rows)[0]]) for rows in batch.support])
    found = tally.record(scores, Metric("points", ""))["classes"]
    assert found["of"] == "groups"
    assert found["episodes"] == [int((of == 0).sum()), int((of == 1).sum()), 0]
    assert found["totals"] == pytest.approx([scores[of == 0].sum(), scores[of == 1].sum(), 0])


def test_groups_are_equally_likely_and_classes_within_them() -> None:
    groups = ("a",) * 3 + ("b",) * 9 + ("tiny",)
    split = split_of([2] * 13, groups)
    batch = EpisodeSource(WithinSuperclass(3, 1, 1), split, "uniform").batch(0, 12_000)
    seen = np.bincount(owners(split, batch.support[:, 0]), minlength=13)
    assert seen[12] == 0
    assert chisquare([seen[:3].sum(), seen[3:12].sum()]).pvalue > LEAST_P
    assert chisquare(seen[:3]).pvalue > LEAST_P and chisquare(seen[3:12]).pvalue > LEAST_P


def test_words_are_used_row_by_row() -> None:
    assert_row_by_row(WithinSuperclass(2, 1, 3), split_of([4, 5, 6, 7, 8], ("a", "b", "a", "b", "b")))


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say which super-category"):
        WithinSuperclass(2, 1, 1).check(split_of([4, 4]))
    with pytest.raises(UsageError, match="the largest, 'b', has 2; use --ways"):
        WithinSuperclass(3, 1, 1).check(split_of([4, 4, 4], ("a", "b", "b")))
    with pytest.raises(UsageError, match=r"more than the 4 of class 'c1'; the largest legal --query is 3$"):
        WithinSuperclass(2, 1, 5).check(split_of([1, 4, 9], ("small", "b", "b")))  # 'small' is never drawn
    with pytest.raises(UsageError, match="no open sampling"):
        DisjointSource(WithinSuperclass(2, 1, 1), split_of([4] * 4, tuple("aabb")), 0, 9)


def test_spec_declares_the_parameters_of_the_class() -> None:
    assert WithinSuperclass(**defaults(SPEC)).n_query == 75


def test_as_many_queries_as_shots() -> None:
    assert k_query.KQuery(**defaults(k_query.SPEC)).n_query == 5
    split = split_of([20] * 20)
    protocol = k_query.KQuery(5, 3)
    assert digest(protocol, split) == digest(FixedWay(5, 3, 3), split)
    assert DisjointSource(protocol, split, 0, 99).episodes == DisjointSource(FixedWay(5, 3, 3), split, 0, 99).episodes
