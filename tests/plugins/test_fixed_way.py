from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.errors import UsageError
from metabench.registry.specs import defaults
from metabench_protocols.fixed_way import SPEC, FixedWay
from metabench_protocols.k_query import KQuery
from tests.conftest import MakeSplit

LEAST_P = 1e-6

# way, shot, query, images in each class, SHA-256 of 200 episodes: a change of any of them changes every result.
GOLDEN = [
    (5, 1, 15, [20] * 20, "9631b0e9e56dd774f10c44aecd00d1df6595067307214f47ed66bd422f9969eb"),
    (5, 5, 15, [20] * 20, "cfdb6e5ee3425c1879a016ad5424e6b96bf52f04bdd27f29daea888cc474147d"),
    (20, 1, 5, [20] * 64, "00a85b9d4be44a9386f3279f56fcdb63d5f7dde904bf95b9f3a680cd63767f6e"),
    (2, 1, 1, [2, 2], "ff0af3259b8bb6c82c9263a9cd44c193f5e6010269f7f3579ef6906540dfb839"),
    (5, 1, 15, [600] * 20, "82bc57073aa181dc8173a93ef9075b37e2dab368f4e28040d19906ed6c0873e2"),
    (5, 2, 3, [5, 9, 7, 30, 6, 12, 5], "9519ba161f4fb347a32f878db3214ca31792ad2d250add21e90a8a43b8a78dc7"),
    (3, 10, 2, [70_000, 12, 400, 12], "a17dd6907f09a808af086d6a7bedc2c25f59ce69792ce90dac3538fe3a585247"),
]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case[:3])))
def test_golden_episodes(make_split: MakeSplit, case: tuple[int, int, int, list[int], str]) -> None:
    way, shot, query, counts, expected = case
    source = EpisodeSource(FixedWay(way, shot, query), make_split(counts), {"golden": 1})
    tally = EpisodeTally(source.split.starts)
    tally.update(source.batch(0, 200))
    assert tally.digest == expected


@st.composite
def settings_and_counts(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """A protocol and class sizes, often just sufficient."""
    way, shot, query = draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    sizes = st.integers(shot + query, shot + query + 4)
    return way, shot, query, draw(st.lists(sizes, min_size=way, max_size=way + 4))


@given(settings_and_counts(), st.integers(0, 2**32))
def test_an_episode_is_what_the_protocol_says(
    make_split: MakeSplit, case: tuple[int, int, int, list[int]], seed: int
) -> None:
    way, shot, query, counts = case
    split = make_split(counts)
    batch = EpisodeSource(FixedWay(way, shot, query), split, seed).batch(0, 8)
    owner = np.repeat(np.arange(len(counts)), counts)
    assert batch.way == way and batch.support.shape == (8, way * shot) and batch.query.shape == (8, way * query)
    for episode in range(8):
        rows = [*batch.support[episode], *batch.query[episode]]
        assert len(set(rows)) == way * (shot + query)
        labels = [*batch.support_labels[episode], *batch.query_labels[episode]]
        pairs = {(int(label), int(owner[row])) for label, row in zip(labels, rows, strict=True)}
        assert len(pairs) == len({label for label, _ in pairs}) == len({cls for _, cls in pairs}) == way
        assert np.bincount(batch.support_labels[episode]).tolist() == [shot] * way
        assert np.bincount(batch.query_labels[episode]).tolist() == [query] * way


def test_classes_that_just_suffice_are_used_up(make_split: MakeSplit) -> None:
    batch = EpisodeSource(FixedWay(3, 2, 3), make_split([5, 5, 5]), 0).batch(0, 20)
    for support, query in zip(batch.support, batch.query, strict=True):
        assert sorted([*support, *query]) == list(range(15))


def assert_uniform(batch: EpisodeBatch, counts: list[int]) -> None:
    """Classes equally likely at each label, and images equally likely in each class, in support and query."""
    total, starts = sum(counts), np.cumsum([0, *counts])
    owner = np.repeat(np.arange(len(counts)), counts)
    for rows in (batch.support, batch.query):
        images = np.bincount(rows.ravel(), minlength=total)
        for start, stop in itertools.pairwise(starts):
            assert chisquare(images[start:stop]).pvalue > LEAST_P
    for position in range(batch.support.shape[1]):
        assert chisquare(np.bincount(owner[batch.support[:, position]], minlength=len(counts))).pvalue > LEAST_P


@pytest.mark.parametrize("counts", [[6] * 8, [5, 9, 5, 30, 6, 12]], ids=["even", "uneven"])
def test_every_class_and_image_is_equally_likely(make_split: MakeSplit, counts: list[int]) -> None:
    assert_uniform(EpisodeSource(FixedWay(4, 2, 3), make_split(counts), "uniform").batch(0, 20_000), counts)


def test_words_are_used_row_by_row(make_split: MakeSplit) -> None:
    split, protocol = make_split([7, 5, 8, 6]), FixedWay(2, 1, 3)
    words = np.random.Philox(0).random_raw(6 * protocol.width(split)).reshape(6, -1)
    assert words.shape[1] == 2 * (1 + 1 + 3)
    order = [4, 0, 5, 1, 3, 2]
    whole, shuffled = protocol.draw(words, split), protocol.draw(words[order], split)
    np.testing.assert_array_equal(whole.support[order], shuffled.support)
    np.testing.assert_array_equal(whole.query[order], shuffled.query)


def test_check_names_the_class_and_the_largest_legal_query(make_split: MakeSplit) -> None:
    split = make_split([20, 18, 20])
    expected = "5 shot \\+ 15 query images are more than the 18 of class 'c1'; the largest legal --query is 13$"
    with pytest.raises(UsageError, match=expected):
        FixedWay(3, 5, 15).check(split)
    FixedWay(3, 5, 13).check(split)
    with pytest.raises(UsageError, match=r"more than the 18 of class 'c1'; use --shots 17 or fewer$"):
        FixedWay(3, 18, 1).check(split)
    FixedWay(3, 17, 1).check(split)


def test_check_names_the_number_of_classes(make_split: MakeSplit) -> None:
    with pytest.raises(UsageError, match=r"^4-way needs 4 classes but the split has 3; use --ways 3 or fewer$"):
        FixedWay(4, 1, 1).check(make_split([9, 9, 9]))
    FixedWay(3, 1, 1).check(make_split([9, 9, 9]))


@pytest.mark.parametrize(("name", "least"), [("way", 2), ("shot", 1), ("query", 1)])
def test_senseless_parameters_are_refused(name: str, least: int) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be at least {least}, not {least - 1}$"):
        FixedWay(**{"way": 5, "shot": 1, "query": 15, name: least - 1})
    FixedWay(**{"way": 5, "shot": 1, "query": 15, name: least})


def test_spec_declares_the_parameters_of_the_class() -> None:
    protocol = FixedWay(**defaults(SPEC))
    assert (protocol.way, protocol.shot, protocol.query, protocol.n_query) == (5, 1, 15, 75)


def test_k_query_advises_shots_alone(make_split: MakeSplit) -> None:
    with pytest.raises(UsageError, match=r"6 shot and as many query images .* 'c1'; use --shots 4 or fewer$"):
        KQuery(2, 6).check(make_split([20, 9]))
