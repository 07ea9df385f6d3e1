"""Sentences as rows of bytes, so that text goes through the same arrays, digests and memory maps as images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode_texts(texts: Sequence[str], length: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return texts as UTF-8, one a row, uint8 (N, length), filled up with zeros.

    Args:
        texts: none longer than `length` bytes, none with a zero character in it.
        out: where to write them, uint8 (N, length); a new array where not given.

    Raises:
        ValueError: a text that cannot be told from another in this form, with its number.
    """
    rows = np.zeros((len(texts), length), np.uint8) if out is None else out
    for number, text in enumerate(texts):
        data = text.encode()
        if len(data) > length or b"\0" in data:
            why = "has a zero character" if b"\0" in data else f"takes {len(data)} bytes, more than {length}"
            raise ValueError(f"text {number} {why}")
        rows[number] = np.frombuffer(data.ljust(length, b"\0"), np.uint8)
    return rows


def decode_texts(rows: NDArray[np.uint8]) -> list[str]:
    """Return the texts of rows that `encode_texts` made, uint8 (N, length)."""
    return [row.tobytes().rstrip(b"\0").decode() for row in np.asarray(rows)]
