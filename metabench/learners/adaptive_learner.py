"""Running algorithms that adapt to each task over batches of tasks.

Two formulations of the same function: each task by itself, the tasks of a batch shared out to single-threaded
workers, one per core (threads in training; processes in evaluation, where weights stay as they are); or groups of
tasks at once through ``vmap``. On a CPU the first is as fast as the second or faster in nearly every case, and it
takes any backbone (see `benchmarks/README.md`); on a GPU only the second keeps the card busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners.augmentation import own_items, training_items
from metabench.learners.base import Learner
from metabench.learners.task_probe import try_task
from metabench.learners.thread_pool import PlainLayout, WorkerPool
from metabench.models.adaptive import Params, TaskAdaptiveAlgorithm, run_task, run_update
from metabench.models.embedding import checked_targets, embed, to_device
from metabench.models.interfaces import Backbone
from metabench.models.output_checks import require_tensor
from metabench.models.task_context import TaskContext, task_context
from metabench.registry.recipe import Recipe
from metabench.runtime.forked_pool import ForkedPool, can_fork
from metabench.runtime.memory import MIB, device_memory, out_of_memory
from metabench.runtime.memory_limits import own_peak_memory_mb

T = TypeVar("T")
_DRAWING = 8
"""Tasks at once under ``vmap`` at most where they draw random numbers."""
Task = tuple[Tensor, ...]
"""Support images (S, C, H, W), labels (S,), query images (Q, C, H, W), their labels (Q,); each of them with
a leading dimension where it is a group of tasks."""


class AdaptiveLearner(Learner):
    """An `TaskAdaptiveAlgorithm` algorithm and how its tasks are run.

    Args:
        algorithm: on its device.
        precision: of the network.
        max_memory: bytes that the process (on a GPU: the tensors there) may take; 0: what there is.
        formulation: ``loop`` or ``vmap``; what is faster on the device where not given.
        group: tasks at once under ``vmap``, at most.
        frozen: see `Learner`.
        device: that of `algorithm`, where it has no weights to tell.
    """

    module: TaskAdaptiveAlgorithm
    embedder: Backbone | None = None
    _forked: ForkedPool | None = None
    _fixed = False
    """How many tasks are run at once must not change."""

    def __init__(
        self,
        algorithm: TaskAdaptiveAlgorithm,
        precision: str = "float32",
        max_memory: int = 0,
        formulation: str | None = None,
        group: int = 64,
        frozen: Backbone | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.module, self.precision, self.max_memory = algorithm, precision, max_memory
        self.frozen = frozen
        self.device = device or next(algorithm.parameters()).device
        self._formulate((formulation or _quicker(algorithm, self.device)) == "vmap", group)

    def _formulate(self, batched: bool, group: int = 1) -> None:
        self.batched, self.group = batched, group if batched else 1
        self._inline = batched or self.device.type == "cuda"
        self._take_at_once(self.group if self._inline else torch.get_num_threads())

    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Adapt to every episode and score its queries; no graph outlives an inner step."""

        def attempt() -> list[Tensor]:
            if self._forked is None:
                return list(self._groups(self._score, data, batch))
            found = []
            for scores, process, grown in self._forked.map(batch[index : index + 1] for index in range(len(batch))):
                found.append(torch.from_numpy(scores))
                self._grown[process] = grown
            return found

        return torch.cat(self._in_room(attempt))

    @contextmanager
    def scoring(self, data: Tensor) -> Iterator[None]:
        """Share tasks out to processes where there are several at once, on a CPU.

        Not beside a GPU: torch refuses gradients in a copy of a process that has threads for those of a GPU.
        """
        before = 0.0

        def begin() -> None:
            nonlocal before
            torch.set_num_threads(1)
            before = own_peak_memory_mb()

        def alone(batch: EpisodeBatch) -> tuple[NDArray[np.float32], int, float]:
            with torch.inference_mode(False):
                scores = self._score(self.module, tasks_of(self.module.backbone, data, batch))
            return scores.numpy(), os.getpid(), own_peak_memory_mb() - before

        if not self._inline and self.at_once > 1 and can_fork() and not torch.accelerator.is_available():
            self._grown = dict[int, float]()
            with suppress(OSError):  # then threads do it
                self._forked = ForkedPool(alone, self.at_once, begin)
        try:
            yield
        finally:
            self._join()

    def truth(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return the labels of the queries, or the numbers that the backbone finds in them."""
        return _goals(self.module.backbone, data, batch.query, batch.query_labels)

    def width(self, batch: EpisodeBatch) -> int:
        """Return the classes that the network is built for, or how many numbers it predicts."""
        return self.module.way

    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """Enough to share out, few enough to report often."""
        return 2 * self.group if self.batched else 8 * self.at_once

    def backward(self, images: Tensor, batch: EpisodeBatch, recipe: Recipe, episode: int) -> Tensor:
        """Average loss and gradient over tasks; sums are in the order of the tasks, whichever worker did them."""
        images, batch = training_items(images, batch, recipe.augment)
        first_order = episode < recipe.first_order_episodes
        context = TaskContext(self.batched, episode, first_order, self.precision)

        def add_up() -> tuple[Tensor, Params]:
            total, sums = torch.zeros((), device=images.device), Params()
            for loss, update in self._groups(partial(self._learn, context), images, batch):
                total = total + loss
                for name, value in update.items():
                    sums[name] = sums[name] + value if name in sums else value
            return total, sums

        total, sums = self._in_room(add_up)
        self._apply({name: value / len(batch) for name, value in sums.items()})
        return total / len(batch)

    def check(
        self, recipe: Recipe | None, source: EpisodeSource, images: NDArray[np.uint8], accepted: bool = False
    ) -> str:
        """Try one task; take as many at once as memory and repeatable random numbers allow."""
        episode = source.batch(0, 1)
        if not self.module.backbone.outputs and episode.way != self.module.way:
            raise UsageError(f"is built for {self.module.way}-way tasks and cannot learn from {episode.way}-way ones")
        few, here = own_items(to_device(images, torch.device("cpu")), episode)
        few = few.to(self.device)
        if self.frozen is not None:
            few = embed(self.frozen, few, self.precision)
        tasks = tasks_of(self.module.backbone, few, here)
        self.module.train(recipe is not None)
        note = ""
        try:
            size, draws = self._try(recipe, tasks)
        except (RuntimeError, UsageError) as error:
            if not self.batched or out_of_memory(error):
                raise
            self._formulate(False)  # vmap has no rule for some operations, and none may ask for a value
            size, draws = self._try(recipe, tasks)  # what vmap is not to blame for fails again
            why = str(error.__cause__ or error).splitlines()[0]
            note = f"tasks run one by one, since vmap cannot batch them ({why}); "
        self._fixed = draws
        if draws:  # from one stream, so who draws when must not depend on what there is room for
            self._take_at_once(min(self.at_once, _DRAWING) if self.batched else 1)
        return note + self._make_room(size, recipe is not None, accepted)

    def _try(self, recipe: Recipe | None, tasks: Task) -> tuple[int, bool]:
        """Return the bytes that one task takes, and whether it draws random numbers: at the end of training too."""
        task = tuple(part[0] for part in tasks)
        learns = recipe is not None and not _has_update(self.module)
        contexts = [replace(self._context, episode=episode) for episode in ((0, recipe.episodes) if recipe else (0,))]
        sizes = []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            before = self._random_states()
            for context in contexts:
                work = self._score if recipe is None else partial(self._learn, context)
                with task_context(context):
                    sizes.append(try_task(self.module, partial(_on, work, tasks), task, learns))
            return max(sizes), not all(map(torch.equal, before, self._random_states()))

    def _random_states(self) -> list[Tensor]:
        """Return the state of every stream that a task may draw from."""
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def _make_room(self, task: int, training: bool, accepted: bool) -> str:
        """Set how many tasks of `task` bytes run at once and say what that takes.

        Beside the tasks training holds five times the weights: gradient, its sum over tasks, two moments of the
        optimiser, the best so far.
        """
        weights = sum(value.numel() * value.element_size() for value in self.module.parameters())
        used, limit = device_memory(self.device)
        limit = self.max_memory or limit
        base = used + (5 * weights if training else 0)
        least = self.at_once if self._fixed else 1
        if base + least * task > limit and not accepted:
            many = "a task" if least == 1 else f"{least} tasks, no fewer since they draw random numbers,"
            raise UsageError(
                f"needs {least * task // MIB + 1} MB for {many} beside {base // MIB + 1} MB, and may take "
                f"{limit // MIB} MB: allow more (--max-memory), or use fewer --shots, fewer inner steps or a smaller "
                "--backbone"
            )
        at_once = max(least, min(self.at_once, (limit - base) // task))
        self._take_at_once(at_once)
        what = "training" if training else "evaluation"
        total = (base + at_once * task) // MIB
        each = f"{task / MIB:.0f} MB" if task >= MIB else "less than 1 MB"
        tasks = f"{at_once} tasks at once of {each} each" if at_once > 1 else f"one task at a time of {each}"
        return f"{what} takes about {total} MB of memory, {tasks}"

    @property
    def _context(self) -> TaskContext:
        return TaskContext(self.batched, precision=self.precision)

    def _join(self) -> None:
        """End the processes that score, if any: threads take over."""
        if self._forked is not None:
            self._forked.shutdown(cancel_futures=True)
            self.beside_mb = max(self.beside_mb, sum(self._grown.values()))
            self._forked = None

    def _take_at_once(self, tasks: int) -> None:
        self._join()
        self.at_once = tasks
        if self.batched:
            self.group = tasks
        if not self._inline:
            self._pool = WorkerPool(self.module, tasks)

    def _score(self, algorithm: TaskAdaptiveAlgorithm, tasks: Task) -> Tensor:
        with torch.no_grad(), task_context(self._context):
            scores: Tensor = self._each(partial(_scores, algorithm, self.algorithm), tasks)
            return scores.float()

    def _learn(self, context: TaskContext, algorithm: TaskAdaptiveAlgorithm, tasks: Task) -> tuple[Tensor, Params]:
        """Return the sums over a group of tasks of the loss, and of what goes to parameters and buffers."""
        custom = _has_update(algorithm)
        with torch.set_grad_enabled(not custom), task_context(context):
            if custom:
                losses, update = self._each(partial(run_update, algorithm), tasks)
                return losses.sum(), {name: value.sum(0) for name, value in update.items()}
            losses, buffers = self._each(partial(run_task, algorithm), tasks)
            learned = {name: value for name, value in algorithm.named_parameters() if value.requires_grad}
            found = torch.autograd.grad(losses.sum(), list(learned.values()), allow_unused=True)
            slopes = {name: slope for name, slope in zip(learned, found, strict=True) if slope is not None}
            return losses.detach().sum(), slopes | {name: value.detach().sum(0) for name, value in buffers.items()}

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

    def _groups(
        self, work: Callable[[TaskAdaptiveAlgorithm, Task], Any], images: Tensor, batch: EpisodeBatch
    ) -> Iterator[Any]:
        """Yield what `work` makes of each group of tasks, in order."""
        training = self.module.training

        def call(algorithm: TaskAdaptiveAlgorithm, start: int) -> Any:
            algorithm.train(training)
            with torch.inference_mode(False):  # it has no gradients at all, even where asked for
                return work(algorithm, tasks_of(algorithm.backbone, images, batch[start : start + self.group]))

        starts = range(0, len(batch), self.group)
        if self._inline:
            return (call(self.module, start) for start in starts)
        return self._pool.map(call, starts)

    def _in_room(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` does, with half as many tasks at once for as long as memory runs out."""
        while True:
            try:
                return attempt()
            except (RuntimeError, MemoryError) as error:
                killed = isinstance(error, BrokenProcessPool)  # by the system, most likely for its memory
                if self.at_once == 1 or self._fixed or not (killed or out_of_memory(error)):
                    raise
            self._take_at_once(self.at_once // 2)


def _on(work: Callable[[TaskAdaptiveAlgorithm, Task], T], tasks: Task, algorithm: TaskAdaptiveAlgorithm) -> T:
    return work(algorithm, tasks)


def _quicker(algorithm: TaskAdaptiveAlgorithm, device: torch.device) -> str:
    """Return the formulation that is faster: a network without convolutions is too small to be run task by task."""
    dense = all(value.dim() <= 2 for value in algorithm.backbone.parameters())
    return "vmap" if device.type == "cuda" or dense else "loop"


def _has_update(algorithm: TaskAdaptiveAlgorithm) -> bool:
    return type(algorithm).update is not TaskAdaptiveAlgorithm.update


def _scores(
    algorithm: TaskAdaptiveAlgorithm, owner: str, support: Tensor, labels: Tensor, query: Tensor, _truth: Tensor
) -> Tensor:
    scores = algorithm.predict(algorithm.adapt(algorithm.start(), support, labels), support, labels, query)
    return require_tensor(scores, (len(query), algorithm.way), owner, query.device)


def tasks_of(backbone: Backbone, images: Tensor, batch: EpisodeBatch) -> Task:
    """Return the tasks of a batch, their items as `backbone` takes them, contiguous."""

    def pixels(rows: Any) -> Tensor:
        index = torch.from_numpy(rows).to(images.device)
        found = backbone.inputs(images[index.flatten()]).clone(memory_format=torch.contiguous_format)
        return found.view(*index.shape, *found.shape[1:])

    labels = _goals(backbone, images, batch.support, batch.support_labels)
    truth = _goals(backbone, images, batch.query, batch.query_labels)
    return pixels(batch.support), labels, pixels(batch.query), truth


def _goals(backbone: Backbone, images: Tensor, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Tensor:
    """Return what is asked of the items in `rows` (B, M): their labels, or the numbers (B, M, D) they have."""
    if not backbone.outputs:
        return torch.from_numpy(labels).to(images.device)
    index = torch.from_numpy(rows.reshape(-1)).to(images.device)
    targets = checked_targets(backbone, images[index], f"backbone {type(backbone).__name__}")
    return targets.reshape(*rows.shape, backbone.outputs)
