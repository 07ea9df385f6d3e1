"""Rows of an array, made block by block: here, or in processes that wait for no interpreter's lock but their own.

The processes are started by hand. Those of `multiprocessing` import the running program once more (spawn), which a
script need not stand, or copy a process that has threads (fork), which torch does not stand.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError

Make = Callable[[int], NDArray[np.uint8]]
Made = tuple[int, dict[int, str]]
"""The CRC-32 of a block, and the reasons of its unusable rows, which are zeros."""

LEAST_ROWS = 2_500
"""Of each process: for fewer, starting it takes as long as it saves."""
MOST_PROCESSES = 16
_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from metabench.data.making import serve; serve()"


class Unusable(Exception):
    """A row cannot be made; the message says why in a few words."""


@contextmanager
def block_makers(
    make: Make, out: NDArray[np.uint8], draft: Path, rows: int, most: int
) -> Iterator[Callable[[range], Made]]:
    """Yield a function that makes a block of rows of `out`, to be called by at most `most` threads at once.

    Where `make` can be sent to other processes, and there is enough to do, they do it.

    Args:
        draft: the file that `out` is a map of.
        rows: that are to be made.
    """
    number = min(most, MOST_PROCESSES, rows // LEAST_ROWS)
    with ExitStack() as stack:
        workers = _started(make, draft, number, stack) if number > 1 else []
        if not workers:
            yield partial(make_block, out, make)
            return
        idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def work(rows: range) -> Made:
            worker = idle.get()
            try:
                return worker.make(rows)
            finally:
                idle.put(worker)

        yield work


def make_block(out: NDArray[np.uint8], make: Make, rows: range) -> Made:
    """Make rows of `out`."""
    block = np.empty((len(rows), *out.shape[1:]), np.uint8)  # written to the map at once: half the cost of row by row
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
    out[rows.start : rows.stop] = block
    return zlib.crc32(block.data), unusable


def _started(make: Make, draft: Path, number: int, stack: ExitStack) -> list[_Worker]:
    """Return processes that `stack` ends; none where `make` cannot be sent, as what a notebook defines cannot."""
    try:
        order = pickle.dumps((pickle.dumps(make), draft))
        workers = [stack.enter_context(_Worker()) for _ in range(number)]
    except Exception:  # whatever a plugin's function holds may refuse in its own way, and so may the system
        return []
    return workers if all(worker.ordered(order) for worker in workers) else []


class _Worker:
    """A process that makes blocks; it ends when its input does, so that it outlives nobody who was killed."""

    def __enter__(self) -> _Worker:
        command = [sys.executable, "-c", _CODE, json.dumps(sys.path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()  # what it was about is not in the journal, and is made again
        self._process.wait()
        for stream in (self._process.stdout, self._process.stdin):
            try:
                stream.close()
            except OSError:  # what could not be sent any more
                continue

    def ordered(self, order: bytes) -> bool:
        """Say what is to be made; return whether it understood."""
        try:
            return bool(self._asked(order))
        except (OSError, EOFError):
            return False

    def make(self, rows: range) -> Made:
        """Make a block; raises what `make_block` does."""
        try:
            answer = self._asked(pickle.dumps(rows))
        except (OSError, EOFError):
            code = self._process.wait()
            raise MetabenchError(f"a process that decodes ended (exit code {code}); run again to go on") from None
        if isinstance(answer, BaseException):
            raise answer
        made: Made = answer
        return made

    def _asked(self, message: bytes) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(message)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)


def serve() -> None:
    """Be such a process: orders come by standard input, answers go by standard output."""
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides
    warnings.simplefilter("ignore")  # Pillow's, about odd but readable files
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints must not get between the answers

    def answer(found: object) -> None:
        answers.write(pickle.dumps(found))
        answers.flush()

    try:
        what, draft = pickle.load(orders)
        make = pickle.loads(what)
        out = np.lib.format.open_memmap(draft, mode="r+")
    except Exception:  # a module that only the other process has, say
        answer(False)
        return
    answer(True)
    while True:
        try:
            rows = pickle.load(orders)
        except EOFError:
            return
        try:
            answer(make_block(out, make, rows))
        except Exception as error:  # to be raised where the block was asked for
            answer(error if _sendable(error) else MetabenchError(f"{type(error).__name__}: {error}"))


def _sendable(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception whose arguments are not those of its constructor, say
        return False
    return True
