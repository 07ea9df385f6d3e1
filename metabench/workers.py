"""Where tasks run: single-threaded workers on the cores of a CPU, and what ``vmap`` needs."""

from __future__ import annotations

import copy
import ctypes
import multiprocessing
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metabench.adapting import Adapting
from metabench.environment import peak_memory_mb


class PlainLayout(TorchFunctionMode):
    """Ignores a wish for channels-last memory: it changes no value, and ``vmap`` does not know it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Drop ``memory_format`` from ``contiguous`` and ``to``."""
        kwargs = dict(kwargs or {})
        if func in (Tensor.contiguous, Tensor.to):
            kwargs.pop("memory_format", None)
        return func(*args, **kwargs)


class WorkerPool:
    """Threads that each use one core, with a copy of the algorithm each.

    Small operations gain little from being split over threads, while whole tasks share out perfectly. A copy
    shares every tensor with the original: only the structure is its own, since a functional call puts other
    tensors into a module for as long as it lasts.

    Args:
        algorithm: on its device.
        size: threads. One is a thread of its own too: the same bits come out as from several.
    """

    def __init__(self, algorithm: Adapting, size: int) -> None:
        self._copies: queue.SimpleQueue[Adapting] = queue.SimpleQueue()
        for _ in range(size):
            self._copies.put(sharing_copy(algorithm))
        threads = torch.get_num_threads()
        barrier = threading.Barrier(size)

        def start() -> None:
            torch.zeros(1 << 16).add_(1)  # the first operation sets a thread's number of threads to the default
            torch.set_num_threads(1)
            barrier.wait()  # so that each of the first `size` items below starts a thread

        self._threads = ThreadPoolExecutor(size, initializer=start)
        list(self._threads.map(lambda _: None, range(size)))
        # A thread's setting is its own, but the last one made is also the default of threads yet to come.
        torch.set_num_threads(threads)

    def map(self, function: Callable[[Adapting, int], Any], items: range) -> Iterator[Any]:
        """Yield ``function(algorithm, item)`` for all items, in order."""

        def call(item: int) -> Any:
            algorithm = self._copies.get()
            try:
                return function(algorithm, item)
            finally:
                self._copies.put(algorithm)

        return self._threads.map(call, items)


def sharing_copy(algorithm: Adapting) -> Adapting:
    """Return a copy of the structure of a module with the same parameter and buffer tensors."""
    shared = {id(tensor): tensor for tensor in (*algorithm.parameters(), *algorithm.buffers())}
    return copy.deepcopy(algorithm, shared)


class ForkedPool:
    """Processes that each use one core: copies of this one, with all that it holds, made at the first `map`.

    Threads take turns at the interpreter, processes do not: the more cores, the more that is worth (see
    `benchmarks/README.md`). They see nothing of what changes here later, and end with this process, however it ends.

    Args:
        work: what they do with an item. Items and results are sent: numbers and arrays, no tensors.
        size: processes.

    Raises:
        concurrent.futures.process.BrokenProcessPool: from `map`, where one of them was killed.
    """

    def __init__(self, work: Callable[[Any], Any], size: int) -> None:
        self._grown: dict[int, float] = {}
        forking = multiprocessing.get_context("fork")
        self._processes = ProcessPoolExecutor(size, forking, _begin, (work, os.getpid()))

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield what becomes of all items, in order."""
        with warnings.catch_warnings():  # of Python 3.12 and later; what holds here is said at `can_fork`
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            found = self._processes.map(_do, items)
        for result, process, grown in found:
            self._grown[process] = grown
            yield result

    @property
    def memory_mb(self) -> float:
        """What they took at most in MiB beside what they share with this process."""
        return sum(self._grown.values())

    def close(self) -> None:
        """End them; what they have not begun is not done."""
        self._processes.shutdown(cancel_futures=True)


def can_fork() -> bool:
    """Return whether copies of this process can compute.

    A copy has one thread, so it must do without the others that torch started: those of an operation (it has one of
    its own), and those of a GPU's gradients, which torch refuses.
    """
    return (
        sys.platform == "linux"
        and not torch.accelerator.is_available()
        and not multiprocessing.current_process().daemon  # may not have children
    )


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    """Make a process that was just forked a worker."""
    global _work, _memory_before
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent says when to end
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pr_set_pdeathsig = 1  # linux/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)
    torch.set_num_threads(1)
    _work, _memory_before = work, peak_memory_mb()


def _do(item: Any) -> tuple[Any, int, float]:
    return _work(item), os.getpid(), peak_memory_mb() - _memory_before


_work: Callable[[Any], Any]
_memory_before = 0.0
