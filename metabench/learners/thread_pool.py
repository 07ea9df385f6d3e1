"""Workers for tasks: single threads on the cores of a CPU, and a mode for ``vmap``."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metabench.models.adaptive import TaskAdaptiveAlgorithm


class PlainLayout(TorchFunctionMode):
    """A mode that ignores requests for channels-last memory, which change no value and which ``vmap`` does not know."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Drop ``memory_format`` from ``contiguous`` and ``to``."""
        kwargs = dict(kwargs or {})
        if func in (Tensor.contiguous, Tensor.to):
            kwargs.pop("memory_format", None)
        return func(*args, **kwargs)


class WorkerPool:
    """Threads that use one core and one copy of the algorithm each.

    Small operations gain little from being split over threads, while whole tasks divide perfectly. A copy shares every
    tensor with the original; only its structure is its own, since a functional call replaces the tensors of a module
    while it runs.

    Args:
        algorithm: on its device.
        size: number of threads. A single one is also a thread of its own, so that the same bits come out.
    """

    def __init__(self, algorithm: TaskAdaptiveAlgorithm, size: int) -> None:
        self._copies: queue.SimpleQueue[TaskAdaptiveAlgorithm] = queue.SimpleQueue()
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

    def map(self, function: Callable[[TaskAdaptiveAlgorithm, int], Any], items: range) -> Iterator[Any]:
        """Yield ``function(algorithm, item)`` for all items, in order."""

        def call(item: int) -> Any:
            algorithm = self._copies.get()
            try:
                return function(algorithm, item)
            finally:
                self._copies.put(algorithm)

        return self._threads.map(call, items)


def sharing_copy(algorithm: TaskAdaptiveAlgorithm) -> TaskAdaptiveAlgorithm:
    """Return a copy of the structure of a module with the same parameter and buffer tensors."""
    shared = {id(tensor): tensor for tensor in (*algorithm.parameters(), *algorithm.buffers())}
    return copy.deepcopy(algorithm, shared)
