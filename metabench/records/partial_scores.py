"""Scores of a run that is not finished: appended while it runs, read back when it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.errors import UsageError
from metabench.records.store import HEADER, checked_key
from metabench.utils.bounded_files import TABLE_BYTES, read_bounded


class PartialScores:
    """Scores of an evaluation under way: who scores, then little-endian doubles, only ever appended to.

    The writer must hold the key's lock. A write that was cut short leaves the tail of an episode, which `load` ignores
    and the next `append` removes.

    Args:
        width: numbers of an episode: its score, and the parts of it.
        scorer: a SHA-256 of the weights and code that score; scores of another count as none, and the next `append`
            removes them. Without it those that are there are taken.
    """

    def __init__(self, root: Path, key: str, width: int = 1, scorer: str = "") -> None:
        self.path = root / "partial" / f"{checked_key(key)}.f64"
        self._shape, self._bytes = (-1, width) if width > 1 else (-1,), 8 * width
        self._head = bytes.fromhex(scorer) if scorer else None

    def load(self) -> NDArray[np.float64]:
        """Return the scores so far, (episodes done,) or (episodes done, width); empty if there are none.

        Raises:
            UsageError: the file is larger than that of any run whose record can be read, or is none.
        """
        try:
            raw = read_bounded(self.path, TABLE_BYTES)
        except FileNotFoundError:
            raw = b""
        except UsageError as error:
            raise UsageError(f"{error} Or remove it: then its run starts anew.") from None
        raw = raw[HEADER:] if self._head in (None, raw[:HEADER]) else b""
        whole = raw[: len(raw) // self._bytes * self._bytes]
        return np.frombuffer(whole, dtype="<f8").astype(np.float64).reshape(self._shape)

    def append(self, scores: ArrayLike) -> None:
        """Add the scores of the next episodes and push them to the disk."""
        data = np.asarray(scores).astype("<f8").tobytes()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as stream:
            end = stream.tell()
            stream.seek(0)
            head = stream.read(HEADER)
            if len(head) == HEADER and self._head in (None, head):
                stream.truncate(end - (end - HEADER) % self._bytes)
            else:
                stream.truncate(0)
                stream.write(self._head or bytes(HEADER))
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def remove(self) -> None:
        """Forget the scores; fine if there are none."""
        self.path.unlink(missing_ok=True)
