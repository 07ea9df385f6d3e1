from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from metabench.utils.hashing import canonical_json
from metabench.utils.random_streams import Stream, choose, integers_below

MASK = 2**64 - 1
LEAST_P = 1e-6

# These hold whatever the versions of NumPy and Python: a change of any of them changes every result.
GOLDEN_WORDS = [
    [
        17584516956842033505,
        4916871967636462148,
        3419811169593187882,
        8638148760018543083,
        8955766557418331030,
        123894690697285655,
    ],
    [
        9699152332047614812,
        16295118737761908572,
        10263454894558708565,
        16801022761806876889,
        7385480315596800010,
        11984940676250301517,
    ],
]
GOLDEN_WORDS_DIGEST = "90e30970c8a04916f88358dabe32c48087092274b84939d2033118da2488f6dd"
GOLDEN_CHOICES = {
    (5, 5): "cf95597137eca49129c0e6e445adc05f51bf9dcb19a0f54d3175083b61b69786",
    (20, 16): "403b0d33d7a3067e356d1a9074b9cf4384c05b6690b250081090725179043bfc",
    (600, 20): "14cc8ba533c260e7e252e6c4f39db5d984b5b58d3cc08856628ca20bc96269ec",
    (70000, 7): "027805262d40fe81b824fc14c3a34c80e9be24b29d6b1b77af7c65aaa4e319ab",
}


def philox_block(counter: int, key: tuple[int, int]) -> list[int]:
    """Philox 4x64-10, written from Salmon et al. 2011 with Python integers."""
    c = [counter >> (64 * index) & MASK for index in range(4)]
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [right >> 64 ^ c[1] ^ k0, right & MASK, left >> 64 ^ c[3] ^ k1, left & MASK]
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & MASK, k1 + 0xBB67AE8584CAA73B & MASK
    return c


def naive_words(name: object, width: int, item: int) -> list[int]:
    digest = hashlib.sha256(canonical_json(name).encode()).digest()
    key = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")
    blocks = -(-width // 4)
    # NumPy steps the counter before its first block, hence the 1.
    words = [word for block in range(blocks) for word in philox_block(item * blocks + block + 1, key)]
    return words[:width]


def naive_choose(words: list[int], population: int) -> list[int]:
    deck = list(range(population))
    for step, word in enumerate(words):
        target = step + ((word >> 32) * (population - step) >> 32)
        deck[step], deck[target] = deck[target], deck[step]
    return deck[: len(words)]


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).astype("<i8" if array.dtype == np.int64 else "<u8")).hexdigest()


def test_golden_words() -> None:
    words = Stream("golden", 6).words(0, 2)
    assert words.dtype == np.uint64
    assert words.tolist() == GOLDEN_WORDS
    assert sha256(Stream(["episodes", {"seed": 1}], 85).words(1000, 1100)) == GOLDEN_WORDS_DIGEST


@pytest.mark.parametrize(("population", "k"), [(5, 5), (20, 16), (600, 20), (70_000, 7)])
def test_golden_choices(population: int, k: int) -> None:
    chosen = choose(Stream(["choose", population], k).words(0, 64), population)
    assert sha256(chosen) == GOLDEN_CHOICES[population, k]


@pytest.mark.parametrize("width", [1, 3, 4, 5, 16])
def test_words_are_those_of_the_philox_paper(width: int) -> None:
    name = ["any", {"json": width}]
    expected = [naive_words(name, width, item) for item in (0, 1, 2, 10**12)]
    stream = Stream(name, width)
    assert [*stream.words(0, 3).tolist(), *stream.words(10**12, 10**12 + 1).tolist()] == expected


@given(st.integers(1, 9), st.integers(0, 2**40), st.integers(0, 20), st.integers(0, 20))
def test_words_do_not_depend_on_where_drawing_starts(width: int, start: int, first: int, second: int) -> None:
    stream = Stream("s", width)
    middle, stop = start + first, start + first + second
    parts = np.concatenate([stream.words(start, middle), stream.words(middle, stop)])
    assert parts.shape == (first + second, width)
    np.testing.assert_array_equal(parts, Stream("s", width).words(start, stop))


def test_equal_names_give_equal_streams_and_different_names_different_ones() -> None:
    assert (Stream({"a": 1, "b": 2}, 8).words(0, 9) == Stream({"b": 2, "a": 1}, 8).words(0, 9)).all()
    streams = [Stream(name, 8).words(0, 64).ravel().tolist() for name in ("a", "b", ["a"], 1, "1", None)]
    assert len({word for words in streams for word in words}) == sum(len(words) for words in streams)


def test_below_reaches_both_ends_and_broadcasts_bounds() -> None:
    words = np.array([[0, 0], [MASK, MASK], [1 << 63, 1 << 63]], dtype=np.uint64)
    assert integers_below(words, np.array([3, 600], dtype=np.uint64)).tolist() == [[0, 0], [2, 599], [1, 300]]
    assert integers_below(words, 2**32 - 1)[1, 0] == 2**32 - 2


@given(st.data(), st.integers(1, 40))
def test_choose_is_a_partial_fisher_yates_shuffle(data: st.DataObject, population: int) -> None:
    k = data.draw(st.integers(1, population))
    words = data.draw(st.lists(st.lists(st.integers(0, MASK), min_size=k, max_size=k), min_size=1, max_size=4))
    chosen = choose(np.array(words, dtype=np.uint64), population)
    assert chosen.tolist() == [naive_choose(row, population) for row in words]
    assert all(len(set(row)) == k and min(row) >= 0 and max(row) < population for row in chosen.tolist())


@pytest.mark.parametrize("population", [2**16 - 1, 2**16, 2**16 + 1])
def test_choose_around_the_change_of_table_type(population: int) -> None:
    words = np.full((1, 3), MASK, dtype=np.uint64)
    words[0, 1] = 0
    assert choose(words, population).tolist() == [naive_choose(words[0].tolist(), population)]
    assert choose(words, population)[0, 0] == population - 1


def test_choose_is_uniform_in_every_position_and_over_ordered_pairs() -> None:
    chosen = choose(Stream("uniform", 3).words(0, 42_000), 7)
    for position in range(3):
        assert chisquare(np.bincount(chosen[:, position], minlength=7)).pvalue > LEAST_P
    pairs = np.bincount(chosen[:, 0] * 7 + chosen[:, 2], minlength=49).reshape(7, 7)
    assert (np.diag(pairs) == 0).all()
    assert chisquare(pairs[~np.eye(7, dtype=bool)]).pvalue > LEAST_P
