"""Uneven queries: how many of each class, that none is a support image, and where the proportions come from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from metabench.episodes.open_sampling import DisjointSource
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.registry.specs import defaults
from metabench_protocols.dirichlet import SPEC, DirichletQueries, apportion, dirichlet
from tests.plugins.protocol_facts import assert_row_by_row, assert_sound, digest, split_of

LEAST_P = 1e-6
# way, shot, query, alpha, images in each class: a change of a digest changes every result.
GOLDEN = [
    (5, 1, 15, 2.0, [600] * 20, "8912c8eb93d16b23d9729d79fd848fad9730ad9903bad1f511cf2a713f64133c"),
    (5, 5, 15, 2.0, [600] * 20, "dd163168eafb27aa5371a0f357f522b496965f93a5220ce08a66f8c189c365b1"),
    (5, 1, 8, 2.0, [20] * 20, "bc10fbb60f082566ca6dbd771e90fe7952a39d71f1446601b65e604a92d08156"),
    (3, 2, 4, 0.3, [12, 40, 10, 25, 10], "be5eb6b6c975009de08609849a24cd2a3de2cf60b183d0137dcf501d914c12e8"),
]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case[:4])))
def test_golden_episodes(case: tuple[int, int, int, float, list[int], str]) -> None:
    way, shot, query, alpha, counts, expected = case
    assert digest(DirichletQueries(way, shot, query, alpha), split_of(counts)) == expected


@given(st.integers(2, 5), st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.05, 0.5, 2.0, 900.0]), st.data())
def test_an_episode_is_what_the_protocol_says(
    way: int, shot: int, query: int, alpha: float, data: st.DataObject
) -> None:
    sizes = st.integers(shot + 2 * query, shot + 6 * query)  # often too few for the share of one class
    split = split_of(data.draw(st.lists(sizes, min_size=way, max_size=way + 3)))
    batch = EpisodeSource(DirichletQueries(way, shot, query, alpha), split, data.draw(st.integers(0, 99))).batch(0, 8)
    assert_sound(batch, split)
    assert batch.support.shape == (8, way * shot) and batch.query.shape == (8, way * query)
    for labels in batch.support_labels:
        assert np.bincount(labels).tolist() == [shot] * way


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=8), st.integers(1, 60), st.data())
def test_apportioning_keeps_total_and_room_and_is_nearest(
    weights: list[float], total: int, data: st.DataObject
) -> None:
    shares = np.array([weights]) / sum(weights)
    room = np.array([data.draw(st.lists(st.integers(0, 40), min_size=len(weights), max_size=len(weights)))])
    room[0, 0] += max(0, total - int(room.sum()))
    counts = apportion(shares, total, room)
    assert counts.sum() == total and (counts >= 0).all() and (counts <= room).all()
    free = apportion(shares, total, np.full(room.shape, total))
    assert (np.abs(free - shares * total) < 1 + 1e-9).all()


def test_rounding_is_that_of_the_source() -> None:
    """round(p Q), then the entry whose fraction is nearest to one half to the other side until the sum is Q."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([2.0] * 5, 2000)
    ours = apportion(shares, 75, np.full(shares.shape, 75))
    for share, counts in zip(shares, ours, strict=True):
        quota = share * 75
        theirs = np.round(quota)
        while theirs.sum() != 75:
            up = theirs.sum() < 75
            fraction = quota - np.floor(quota)
            movable = theirs == (np.floor(quota) if up else np.ceil(quota))
            pick = np.where(movable, np.abs(fraction - 0.5), np.inf).argmin()
            theirs[pick] += 1 if up else -1
        assert theirs.tolist() == counts.tolist()


def test_shares_are_dirichlet() -> None:
    """Each share is Beta(alpha, (way - 1) alpha)."""
    for alpha in (0.5, 2.0, 20.0):
        words = np.random.Philox(1).random_raw(5 * 20_000).reshape(-1, 5)
        shares = dirichlet(words, alpha)
        np.testing.assert_allclose(shares.sum(1), 1)
        assert kstest(shares[:, 2], "beta", args=(alpha, 4 * alpha)).pvalue > LEAST_P


def test_counts_vary_as_the_distribution_says() -> None:
    """The variance of a share is (way - 1) / (way^2 (way alpha + 1)): 15 +- 9.05 queries of 75."""
    source = EpisodeSource(DirichletQueries(5, 1, 15, 2.0), split_of([600] * 20), 0)
    labels = source.batch(0, 4000).query_labels
    counts = np.stack([(labels == label).sum(1) for label in range(5)], axis=1)
    assert (counts.sum(1) == 75).all()
    assert abs(counts.mean() - 15) < 1e-9
    assert abs(counts.std() - 75 * np.sqrt(4 / (25 * 11))) < 0.2


def test_a_query_is_never_a_support_image_where_the_reference_leaks() -> None:
    """Classes of 60 images at 20-shot: of the authors' queries about a third are support images."""
    split = split_of([60] * 10)
    batch = EpisodeSource(DirichletQueries(5, 20, 15, 2.0), split, 0).batch(0, 500)
    assert_sound(batch, split)


def test_words_are_used_row_by_row() -> None:
    assert_row_by_row(DirichletQueries(3, 1, 3, 2.0), split_of([7, 12, 8, 9]))


def test_what_is_refused() -> None:
    message = (
        r"1 shot \+ 30 images, twice the mean of 15 queries, and class 'c1' has 20; the largest legal --query is 9$"
    )
    with pytest.raises(UsageError, match=message):
        DirichletQueries(2, 1, 15, 2.0).check(split_of([40, 20]))
    DirichletQueries(2, 1, 9, 2.0).check(split_of([40, 20]))
    with pytest.raises(UsageError, match="3-way needs 3 classes"):
        DirichletQueries(3, 1, 1, 2.0).check(split_of([40, 20]))
    with pytest.raises(UsageError, match="use --shots 18 or fewer"):
        DirichletQueries(2, 20, 1, 2.0).check(split_of([40, 20]))
    for alpha in (0.0, float("nan"), 1e9):
        with pytest.raises(UsageError, match=r"alpha must be from 0\.05 to 1000"):
            DirichletQueries(2, 1, 1, alpha)
    with pytest.raises(UsageError, match="no open sampling"):
        DisjointSource(DirichletQueries(2, 1, 2, 2.0), split_of([40, 40]), 0, 9)


def test_spec_declares_the_parameters_of_the_class() -> None:
    protocol = DirichletQueries(**defaults(SPEC))
    assert (protocol.n_query, protocol.alpha) == (75, 2.0)
