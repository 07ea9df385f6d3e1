"""Running algorithms that adapt to each task over batches of tasks.

Two formulations of the same function: each task by itself, the tasks of a batch shared out to single-threaded
workers (one per core); or groups of tasks at once through ``vmap``. On a CPU the first is as fast as the second or
faster in nearly every case, and it takes any backbone (see `benchmarks/README.md`); on a GPU only the second
keeps the card busy.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from metabench.adapting import Adapting, Params, TaskContext, run_task, task_context
from metabench.episodes import EpisodeBatch
from metabench.features import autocast, normalise
from metabench.learner import Learner
from metabench.modules import Backbone
from metabench.specs import Recipe

Task = tuple[Tensor, ...]
"""Support images (S, C, H, W), labels (S,), query images (Q, C, H, W), their labels (Q,); each of them with
a leading dimension where it is a group of tasks."""


class AdaptingLearner(Learner):
    """An `Adapting` algorithm and how its tasks are run.

    Args:
        algorithm: on its device.
        precision: of the network.
        formulation: ``loop`` or ``vmap``; what is faster on the device where not given.
        group: tasks at once under ``vmap``.
    """

    module: Adapting
    embedder: Backbone | None = None

    def __init__(
        self, algorithm: Adapting, precision: str = "float32", formulation: str | None = None, group: int = 16
    ) -> None:
        self.module, self.precision = algorithm, precision
        device = next(algorithm.parameters()).device
        self.batched = (formulation or ("vmap" if device.type == "cuda" else "loop")) == "vmap"
        self.group = group if self.batched else 1
        self._pool = WorkerPool(algorithm, 1 if self.batched or device.type == "cuda" else torch.get_num_threads())

    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Adapt to every episode and score its queries; no graph outlives an inner step."""

        def work(algorithm: Adapting, tasks: Task) -> Tensor:
            with torch.no_grad(), task_context(TaskContext(self.batched)):
                scores: Tensor = self._each(partial(_scores, algorithm), tasks)
                return scores.float()

        return torch.cat(list(self._map(work, data, batch)))

    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """Enough to share out, few enough to report often."""
        return 8 * self._pool.size * self.group

    def backward(self, images: Tensor, batch: EpisodeBatch, recipe: Recipe, episode: int) -> Tensor:
        """Average loss and gradient over tasks; sums are in the order of the tasks, whichever worker did them."""
        context = TaskContext(self.batched, episode, episode < recipe.first_order_episodes)
        names = [name for name, value in self.module.named_parameters() if value.requires_grad]
        custom = type(self.module).update is not Adapting.update

        def work(algorithm: Adapting, tasks: Task) -> tuple[Tensor, Params]:
            with torch.set_grad_enabled(not custom), task_context(context):
                if custom:
                    losses, update = self._each(algorithm.update, tasks)
                    return losses.sum(), {name: value.sum(0) for name, value in update.items()}
                losses, buffers = self._each(partial(run_task, algorithm), tasks)
                parameters = [algorithm.get_parameter(name) for name in names]
                found = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
                slopes = {name: slope for name, slope in zip(names, found, strict=True) if slope is not None}
                return losses.detach().sum(), slopes | {name: value.detach().sum(0) for name, value in buffers.items()}

        total, sums = torch.zeros((), device=images.device), dict[str, Tensor]()
        for loss, update in self._map(work, images, batch):
            total = total + loss
            for name, value in update.items():
                sums[name] = sums[name] + value if name in sums else value
        self._apply({name: value / len(batch) for name, value in sums.items()})
        return total / len(batch)

    def _apply(self, update: Params) -> None:
        buffers = dict(self.module.named_buffers())
        for name, value in update.items():
            if name in buffers:
                buffers[name].copy_(value)
            else:
                self.module.get_parameter(name).grad = value

    def _each(self, function: Callable[..., Any], tasks: Task) -> Any:
        """Return the results of `function` on every task of a group, stacked."""
        if self.batched:
            with PlainLayout():
                return torch.func.vmap(function, randomness="different")(*tasks)
        results = [function(*(part[index] for part in tasks)) for index in range(len(tasks[0]))]
        return pytree.tree_map(lambda *items: torch.stack(items), *results)

    def _map(self, work: Callable[[Adapting, Task], Any], images: Tensor, batch: EpisodeBatch) -> Iterator[Any]:
        """Yield what `work` makes of each group of tasks, in order."""
        training = self.module.training

        def call(algorithm: Adapting, start: int) -> Any:
            algorithm.train(training)
            with ExitStack() as stack:
                stack.enter_context(torch.inference_mode(False))  # it has no gradients at all, even where asked for
                stack.enter_context(autocast(images.device, self.precision))
                return work(algorithm, tasks_of(images, batch, slice(start, start + self.group)))

        return self._pool.map(call, range(0, len(batch), self.group))


def _scores(algorithm: Adapting, support: Tensor, labels: Tensor, query: Tensor, _truth: Tensor) -> Tensor:
    return algorithm.predict(algorithm.adapt(algorithm.start(), support, labels), support, labels, query)


def tasks_of(images: Tensor, batch: EpisodeBatch, which: slice) -> Task:
    """Return the tasks `which` of a batch; images are contiguous (N, C, H, W)."""

    def pixels(rows: Any) -> Tensor:
        index = torch.from_numpy(rows[which]).to(images.device)
        found = normalise(images[index.flatten()]).clone(memory_format=torch.contiguous_format)
        return found.view(*index.shape, *found.shape[1:])

    labels, truth = (
        torch.from_numpy(part[which]).to(images.device) for part in (batch.support_labels, batch.query_labels)
    )
    return pixels(batch.support), labels, pixels(batch.query), truth


class PlainLayout(TorchFunctionMode):
    """Ignores a wish for channels-last memory: it changes no value, and ``vmap`` does not know it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Drop ``memory_format`` from ``contiguous``."""
        kwargs = dict(kwargs or {})
        if func is Tensor.contiguous:
            kwargs.pop("memory_format", None)
        return func(*args, **kwargs)


class WorkerPool:
    """Threads that each use one core, with a copy of the algorithm each.

    Small operations gain little from being split over threads, while whole tasks share out perfectly. A copy
    shares every tensor with the original: only the structure is its own, since a functional call puts other
    tensors into a module for as long as it lasts.

    Args:
        algorithm: on its device.
        size: threads; with one everything runs in the caller's.
    """

    def __init__(self, algorithm: Adapting, size: int) -> None:
        self.size, self._algorithm = size, algorithm
        self._copies: queue.SimpleQueue[Adapting] = queue.SimpleQueue()
        if size > 1:
            threads = torch.get_num_threads()
            self._threads = ThreadPoolExecutor(size, initializer=torch.set_num_threads, initargs=(1,))
            for _ in range(size):
                self._copies.put(sharing_copy(algorithm))
            # A worker's setting is its own, but the last one made is also the default of threads yet to come.
            list(self._threads.map(lambda _: None, range(size)))
            torch.set_num_threads(threads)

    def map(self, function: Callable[[Adapting, int], Any], items: range) -> Iterator[Any]:
        """Yield ``function(algorithm, item)`` for all items, in order."""
        if self.size == 1:
            return (function(self._algorithm, item) for item in items)

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
