"""Rows of an array, made block by block: in threads, or in processes, which do not wait for one interpreter's lock."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError
from metabench.runtime.forked_pool import ForkedPool, can_fork

Make = Callable[[int], NDArray[np.uint8]]
Made = tuple[int, dict[int, str]]
"""The CRC-32 of a block, and the reasons of its unusable rows, which are zeros."""

LEAST_ROWS = 250
"""Of each process: for fewer, starting it takes as long as it saves."""
_AHEAD = 8
"""Blocks begun ahead for each worker, so that none waits while others are noted down."""


class Unusable(Exception):
    """A row cannot be made; the message says why in a few words."""


def made_blocks(
    make: Make, out: NDArray[np.uint8], blocks: Mapping[int, range], workers: int
) -> Generator[tuple[int, Made]]:
    """Yield the number of each block of rows of `out` and what `make_block` says of it, as they get ready.

    When the caller closes this, no more are begun.

    Args:
        blocks: the rows of each by number.
        make: returns a row. Where it can be pickled, and there is enough to do, processes call it.
        workers: processes or threads.

    Raises:
        MetabenchError: a process was killed; or whatever `make` raises.
    """
    work = partial(make_block, out, make)
    threads = ThreadPoolExecutor(workers, "prepare")
    forked = _forked(make, work, min(workers, sum(map(len, blocks.values())) // LEAST_ROWS))
    submit = partial(threads.submit, work) if forked is None else forked.submit
    waiting: dict[Future[Made], int] = {}
    left = iter(blocks.items())
    try:
        while True:
            while len(waiting) < _AHEAD * workers and (block := next(left, None)) is not None:
                waiting[submit(block[1])] = block[0]
            if not waiting:
                return
            done = wait(waiting, return_when=FIRST_COMPLETED).done
            for ready in sorted(done, key=lambda block: block.exception() is not None):  # what is made is not lost
                yield waiting.pop(ready), ready.result()
    except BrokenProcessPool:
        raise MetabenchError("a process that decodes was killed; run again to go on") from None
    finally:
        (forked or threads).shutdown(cancel_futures=True)


def _forked(make: Make, work: Callable[[range], Made], processes: int) -> ForkedPool | None:
    """Return processes; None where they are not worth it or not available, or `make` holds what they cannot share."""
    if processes < 2 or not can_fork():
        return None
    try:
        pickle.dumps(make)  # which an open file refuses: copies would move its position for each other
        return ForkedPool(work, processes)
    except Exception:  # what a plugin's function holds may refuse in its own way, and so may the system
        return None


def make_block(out: NDArray[np.uint8], make: Make, rows: range) -> Made:
    """Make rows of `out`, a memory map."""
    assert isinstance(out, np.memmap)
    block = np.empty((len(rows), *out.shape[1:]), np.uint8)
    unusable = {}
    for place, row in enumerate(rows):
        try:
            made = make(row)
        except Unusable as error:
            unusable[row] = str(error)
            block[place] = 0
            continue
        if made.shape != out.shape[1:]:  # NumPy would repeat what is too small
            raise ValueError(f"row {row} has shape {made.shape}, not {out.shape[1:]}")
        block[place] = made
    with Path(str(out.filename)).open("r+b") as file:  # cheaper than through the map, which meets page after page
        file.seek(out.offset + rows.start * out[:1].nbytes)
        file.write(block.data)
    return zlib.crc32(block.data), unusable
