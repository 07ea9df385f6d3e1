from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.errors import UsageError
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit


def equal(a: EpisodeBatch, b: EpisodeBatch) -> bool:
    fields = ("support", "support_labels", "query", "query_labels")
    return a.way == b.way and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in fields)


@pytest.fixture(scope="session")
def source(make_split: MakeSplit) -> EpisodeSource:
    return EpisodeSource(FixedWay(3, 2, 2), make_split([6, 4, 9, 5]), ["n", 0])


@settings(max_examples=40)
@given(st.integers(0, 2**33), st.integers(1, 9), st.integers(1, 9))
def test_two_batches_are_the_parts_of_one(source: EpisodeSource, start: int, first: int, second: int) -> None:
    whole = source.batch(start, start + first + second)
    left, right = source.batch(start, start + first), source.batch(start + first, start + first + second)
    assert (len(whole), len(left), len(right)) == (first + second, first, second)
    for name in ("support", "support_labels", "query", "query_labels"):
        np.testing.assert_array_equal(np.concatenate([getattr(left, name), getattr(right, name)]), getattr(whole, name))


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(1, 15), st.integers(0, 45))
def test_chunks_cover_each_episode_once_and_end_on_the_grid(
    source: EpisodeSource, total: int, size: int, first: int
) -> None:
    chunks = list(source.chunks(total, size, first))
    covered = [index for start, batch in chunks for index in range(start, start + len(batch))]
    assert covered == list(range(first, total))
    assert all((start + len(batch)) % size == 0 for start, batch in chunks[:-1])
    assert all(equal(batch, source.batch(start, start + len(batch))) for start, batch in chunks)


def test_names_decide_the_episodes(make_split: MakeSplit) -> None:
    split, protocol = make_split([20] * 30), FixedWay(5, 1, 3)
    batches = [EpisodeSource(protocol, split, name).batch(0, 50) for name in (["d", 0], ["d", 1], ["e", 0], ["d", 0])]
    assert equal(batches[0], batches[3])
    for other in batches[1:3]:
        same = (batches[0].support == other.support).all(1) & (batches[0].query == other.query).all(1)
        assert not same.any()


def test_episodes_of_one_source_differ(make_split: MakeSplit) -> None:
    batch = EpisodeSource(FixedWay(5, 1, 3), make_split([20] * 30), 0).batch(0, 500)
    assert len({row.tobytes() for row in np.concatenate([batch.support, batch.query], axis=1)}) == 500


def test_tie_words_are_addressed_by_episode_and_not_those_of_the_draw(source: EpisodeSource) -> None:
    words = source.tie_words(0, 30)
    assert words.shape == (30, source.protocol.n_query)
    np.testing.assert_array_equal(words[7:19], source.tie_words(7, 19))
    assert not np.isin(words, source._stream.words(0, 30)).any()


def test_a_split_too_small_is_refused_at_once(make_split: MakeSplit) -> None:
    with pytest.raises(UsageError, match="5-way needs 5 classes"):
        EpisodeSource(FixedWay(5, 1, 1), make_split([9, 9]), 0)


def test_digest_is_sha256_of_the_rows_however_they_are_added(source: EpisodeSource) -> None:
    batch = source.batch(0, 11)
    rows = b"".join(
        int(row).to_bytes(8, "little")
        for episode in range(11)
        for row in [*batch.support[episode], *batch.query[episode]]
    )
    tally = EpisodeTally(source.split.starts)
    for start, stop in ((0, 4), (4, 5), (5, 11)):
        tally.update(source.batch(start, stop))
    assert tally.digest == hashlib.sha256(rows).hexdigest()
    tally.update(source.batch(11, 12))
    assert tally.digest != hashlib.sha256(rows).hexdigest()


def test_chunks_end_at_multiples_of_their_size_and_at_the_stops(source: EpisodeSource) -> None:
    ends = [start + len(batch) for start, batch in source.chunks(50, 20, 7, [10, 30, 40, 45, 99])]
    assert ends == [10, 20, 30, 40, 45, 50]
