"""Counter-based random words: any part of a stream can be drawn without drawing the part before it.

NumPy promises that the raw output of a bit generator never changes, but not that ``permutation`` or
``choice`` do not (NEP 19). So everything here starts from raw 64-bit Philox words (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.utils.hashing import canonical_json

_WORDS_PER_BLOCK = 4  # Philox 4x64 yields four words for each counter value


class Stream:
    """A random stream named by a JSON value; item `i` owns words ``i*width .. (i+1)*width`` of it.

    Args:
        name: any JSON value; equal names give equal streams, different names independent ones.
        width: words per item (rounded up to a whole number of Philox blocks).
    """

    def __init__(self, name: Any, width: int) -> None:
        digest = hashlib.sha256(canonical_json(name).encode()).digest()
        self._key = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
        self._blocks = -(-width // _WORDS_PER_BLOCK)
        self._width = width

    def words(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Return the words of items ``start <= i < stop``, shape (stop - start, width)."""
        generator = np.random.Philox(key=self._key, counter=start * self._blocks)
        raw = generator.random_raw((stop - start) * self._blocks * _WORDS_PER_BLOCK)
        return raw.reshape(stop - start, self._blocks * _WORDS_PER_BLOCK)[:, : self._width]


def integers_below(words: NDArray[np.uint64], bound: int | NDArray[np.uint64]) -> NDArray[np.int64]:
    """Map words to integers in ``[0, bound)`` by multiply-shift on their upper 32 bits.

    The relative bias is at most ``bound / 2**32`` (1.4e-7 for a class of 600 images). `bound` < 2**32
    and may be an array that broadcasts against `words`.
    """
    scaled = (words >> np.uint64(32)) * np.asarray(bound, dtype=np.uint64)
    return (scaled >> np.uint64(32)).astype(np.int64)


def unit_floats(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map words to numbers spread evenly over [0, 1), by their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(words: NDArray[np.uint64], population: int) -> NDArray[np.int64]:
    """Draw without replacement, in random order: a partial Fisher-Yates shuffle for each row.

    Args:
        words: (rows, k) random words, ``k <= population``.
        population: number of items to draw from, at most 2**31.

    Returns:
        (rows, k) distinct integers in ``[0, population)`` in each row.
    """
    rows, k = words.shape
    dtype = np.uint16 if population <= 2**16 else np.int32
    # Transposed layout: step j touches one contiguous row, and the whole table stays in cache.
    deck = np.repeat(np.arange(population, dtype=dtype)[:, None], rows, axis=1)
    everyone = np.arange(rows)
    bounds = np.arange(population, population - k, -1, dtype=np.uint64)
    targets = integers_below(words, bounds) + np.arange(k)
    chosen = np.empty((k, rows), dtype=np.int64)
    for j in range(k):
        target = targets[:, j]
        picked = deck[target, everyone]
        deck[target, everyone] = deck[j]
        chosen[j] = picked
    return chosen.T
