"""Pool of forked copies of the running process, each with an interpreter lock of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from metabench.errors import MetabenchError


class ForkedPool:
    """Pool of processes that are copies of this one, with all its memory, at the time the pool is made.

    They see nothing of what changes here later, and end with this process, however it ends. A copy has one thread: what
    its work needs of libraries with threads of their own must do with one (`begin` may say so).

    Args:
        work: what they do with an item. Items and results are pickled, `work` is not.
        size: processes.
        begin: what each does first.

    Raises:
        OSError: the system has no room for a process.
    """

    def __init__(self, work: Callable[[Any], Any], size: int, begin: Callable[[], object] = bool) -> None:
        forking, others = multiprocessing.get_context("fork"), set(multiprocessing.active_children())
        self._processes = ProcessPoolExecutor(size, forking, _begin, (work, begin, os.getpid()))
        with warnings.catch_warnings():  # of Python 3.12 and later
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            try:
                self._processes.submit(bool)  # makes all of them
            except OSError:
                for process in set(multiprocessing.active_children()) - others:
                    process.kill()
                raise

    def submit(self, item: Any) -> Future[Any]:
        """Return the future result of `work` on an item.

        The result raises what `work` does, as a MetabenchError with its words where it cannot be sent, and
        `concurrent.futures.process.BrokenProcessPool` where a process was killed.
        """
        return self._processes.submit(_do, item)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the results of `work` on all items, in order."""
        return self._processes.map(_do, items)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, as an executor of `concurrent.futures` does."""
        self._processes.shutdown(wait, cancel_futures=cancel_futures)


def can_fork() -> bool:
    """Return whether this process can be forked."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon  # that may have no children


def _begin(work: Callable[[Any], Any], begin: Callable[[], object], parent: int) -> None:
    """Make a process that was just forked a worker."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent says when to end
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pr_set_pdeathsig = 1  # linux/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)
    begin()
    _work = work


def _do(item: Any) -> Any:
    try:
        return _work(item)
    except Exception as error:
        if _sendable(error):
            raise
        raise MetabenchError(f"{type(error).__name__}: {error}") from None


def _sendable(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception whose arguments are not those of its constructor, say
        return False
    return True


_work: Callable[[Any], Any]
