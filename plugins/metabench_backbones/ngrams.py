"""Hashed n-grams of words and characters: text to vectors without any learning."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.api import Backbone, UsageError, decode_texts

_BETWEEN_WORDS = re.compile(r"[\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f]+")
"""White space and punctuation (ASCII, general, of Chinese and Japanese)."""
_SPACE = np.uint64(32)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class NGrams(Backbone):
    """Counts hashed n-grams, dampens the counts, and gives every sentence length 1.

    The n-grams are words, and runs of 3 to `longest` characters of a word with its ends marked. Each falls into one of
    `size` entries with a sign (Weinberger et al. 2009, equation 1); an entry that was hit c times with one sign counts
    1 + log c. The features of a sentence depend on nothing but the sentence.

    Args:
        item_shape: (bytes,) of a text.
        size: entries of the vector.
        longest: characters of the longest run; below 3 only words count.
    """

    def __init__(self, item_shape: tuple[int, ...], size: int = 2048, longest: int = 5) -> None:
        super().__init__()
        if len(item_shape) != 1:
            raise UsageError(f"ngrams reads text, not items of shape {item_shape}")
        if size < 1:
            raise UsageError(f"backbone.size must be at least 1, not {size}")
        self.feature_dim, self.longest = size, longest

    def inputs(self, items: Tensor) -> Tensor:
        """Map texts, uint8 (N, bytes), to vectors (N, size)."""
        owners, hashes = hashed_ngrams(decode_texts(items.cpu().numpy()), self.longest)
        slots = owners * (2 * self.feature_dim) + (hashes % np.uint64(2 * self.feature_dim)).astype(np.int64)
        counts = np.bincount(slots, minlength=len(items) * 2 * self.feature_dim)
        damped = np.zeros(len(counts), np.float32)
        damped[counts > 0] = 1 + np.log(counts[counts > 0])
        plus, minus = damped.reshape(len(items), 2, self.feature_dim).transpose(1, 0, 2)
        vectors = torch.from_numpy(plus - minus).to(items.device)
        return torch.nn.functional.normalize(vectors, dim=1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return vectors (N, size) as they are."""
        return vectors


def hashed_ngrams(texts: list[str], longest: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the n-grams of all texts as (number of the text, hash), the same everywhere and for ever.

    Case and compatibility forms do not count (NFKC, casefold); white space and punctuation separate words.
    """
    plain = [_BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip() for text in texts]
    joined = "".join(f" {text}" for text in plain) + " "
    codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.uint64)
    owners = np.repeat(np.arange(len(texts) + 1), [*(len(text) + 1 for text in plain), 1])
    grams = [_words(codes, owners), *(_runs(codes, owners, length) for length in range(3, longest + 1))]
    return np.concatenate([owner for owner, _ in grams]), np.concatenate([hashes for _, hashes in grams])


Found = tuple[NDArray[np.int64], NDArray[np.uint64]]
"""Numbers of texts, and the hash of an n-gram in each."""


def _words(codes: NDArray[np.uint64], owners: NDArray[np.int64]) -> Found:
    """Return the words among `codes`, characters with a space before and after every word."""
    space, here = codes == _SPACE, np.arange(len(codes))
    starts = np.flatnonzero(space[:-1] & ~space[1:]) + 1
    if not len(starts):
        return owners[:0], codes[:0]
    place = here - np.maximum.accumulate(np.where(space, here, 0))
    letters = np.where(space, np.uint64(0), _mixed(codes * _ODD + place.astype(np.uint64)))
    return owners[starts], _mixed(np.add.reduceat(letters, starts))


def _runs(codes: NDArray[np.uint64], owners: NDArray[np.int64], length: int) -> Found:
    """Return the runs of `length` characters that have no space but at their ends."""
    count = max(0, len(codes) - length + 1)
    space, hashes = codes == _SPACE, np.full(count, length, np.uint64)
    inside = np.zeros(count, bool)
    for offset in range(length):
        hashes = (hashes ^ codes[offset : offset + count]) * _ODD
        if 0 < offset < length - 1:
            inside |= space[offset : offset + count]
    return owners[:count][~inside], _mixed(hashes[~inside])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all of them (the finaliser of SplitMix64; Steele, Lea & Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))
