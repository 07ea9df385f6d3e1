"""Training and scoring algorithms that adapt to each task.

There are two formulations of the same function. ``loop`` runs task by task in single-threaded workers, one per core:
threads in training, processes in evaluation, where weights do not change. ``vmap`` runs groups of tasks at once. On a
CPU ``loop`` is as fast or faster in nearly every case, and takes any backbone (see `benchmarks/README.md`); on a GPU
only ``vmap`` keeps the card busy.
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

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners.augmentation import own_items, training_items
from metabench.learners.base import Learner
from metabench.learners.episode_tasks import Task, goals_of, tasks_of
from metabench.learners.task_memory import TaskMemory
from metabench.learners.task_probe import probe_task
from metabench.learners.task_work import has_update, learn_tasks, score_tasks
from metabench.learners.thread_pool import WorkerPool
from metabench.models.adaptive import TaskAdaptiveAlgorithm, Weights
from metabench.models.embedding import embed, to_device
from metabench.models.interfaces import Backbone
from metabench.models.task_context import TaskContext, task_context
from metabench.registry.stage import Stage
from metabench.runtime.forked_pool import ForkedPool, can_fork
from metabench.runtime.memory import device_memory, out_of_memory
from metabench.runtime.memory_budget import NO_LIMIT, MemoryBudget
from metabench.runtime.memory_limits import own_peak_memory_mb

_T = TypeVar("_T")
_DRAWING = 8
"""Largest number of tasks at once under ``vmap`` where they draw random numbers."""


class AdaptiveLearner(Learner):
    """A `TaskAdaptiveAlgorithm` with the workers that run its tasks.

    Args:
        algorithm: on its device.
        precision: of the network.
        formulation: ``loop`` or ``vmap``; None takes the faster one on the device.
        group: largest number of tasks at once under ``vmap``.
        frozen: see `Learner`.
        device: of `algorithm`; None takes that of its weights.
    """

    module: TaskAdaptiveAlgorithm
    embedder: Backbone | None = None
    _forked: ForkedPool | None = None
    _fixed = False
    """The number of tasks at once must not change."""

    def __init__(
        self,
        algorithm: TaskAdaptiveAlgorithm,
        precision: str = "float32",
        *,
        formulation: str | None = None,
        group: int = 64,
        frozen: Backbone | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.module, self.precision = algorithm, precision
        self.frozen = frozen
        self.device = device or next(algorithm.parameters()).device
        self._formulate((formulation or _faster_formulation(algorithm, self.device)) == "vmap", group)

    def _formulate(self, batched: bool, group: int = 1) -> None:
        self.batched, self.group = batched, group if batched else 1
        self._inline = batched or self.device.type == "cuda"
        self._take_at_once(self.group if self._inline else torch.get_num_threads())

    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return the scores (B, Q, way) after adapting to every episode; no graph outlives an inner step."""

        def attempt() -> list[Tensor]:
            if self._forked is None:
                return list(self._groups(self._score, data, batch))
            results = []
            for scores, process, grown in self._forked.map(batch[index : index + 1] for index in range(len(batch))):
                results.append(torch.from_numpy(scores))
                self._grown[process] = grown
            return results

        return torch.cat(self._retried(attempt))

    @contextmanager
    def scoring(self, data: Tensor) -> Iterator[None]:
        """Score in processes where several tasks run at once on a CPU.

        Without a GPU only: torch refuses gradients in a forked process whose parent has threads for a GPU.
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
        """Return the labels of the queries, or the numbers that the backbone reads from them."""
        return goals_of(self.module.backbone, data, batch.query, batch.query_labels)

    def width(self, batch: EpisodeBatch) -> int:
        """Return the number of classes that the network is built for, or of numbers that it predicts."""
        return self.module.way

    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """Return a number of episodes that keeps all workers busy and still reports often."""
        return 2 * self.group if self.batched else 8 * self.at_once

    def backward(self, images: Tensor, batch: EpisodeBatch, stage: Stage, episode: int) -> Tensor:
        """Leave the mean gradient over tasks; sums are in the order of the tasks, whichever worker did them."""
        images, batch = training_items(images, batch, stage.augment)
        first_order = episode < stage.first_order_episodes
        context = TaskContext(self.batched, episode, first_order, self.precision)

        def add_up() -> tuple[Tensor, Weights]:
            total, sums = torch.zeros((), device=images.device), Weights()
            for loss, update in self._groups(partial(learn_tasks, context), images, batch):
                total = total + loss
                for name, value in update.items():
                    sums[name] = sums[name] + value if name in sums else value
            return total, sums

        total, sums = self._retried(add_up)
        self._apply({name: value / len(batch) for name, value in sums.items()})
        return total / len(batch)

    def check(
        self,
        stage: Stage | None,
        source: EpisodeSource,
        images: NDArray[np.uint8],
        memory: MemoryBudget = NO_LIMIT,
    ) -> str:
        """Probe one task, and set the number of tasks at once that memory and repeatable random numbers allow."""
        if stage is not None and not stage.backbone_lr:
            self.freeze_backbone()
        if stage is not None and stage.teacher:
            self.teach(self.module)
        episode = source.batch(0, 1)
        if not self.module.backbone.outputs and episode.way != self.module.way:
            raise UsageError(f"is built for {self.module.way}-way tasks and cannot learn from {episode.way}-way ones")
        few, here = own_items(to_device(images, torch.device("cpu")), episode)
        few = few.to(self.device)
        if self.frozen is not None:
            few = embed(self.frozen, few, self.precision)
        tasks = tasks_of(self.module.backbone, few, here)
        self.module.train(stage is not None)
        note = ""
        try:
            size, draws = self._try(stage, tasks)
        except (RuntimeError, UsageError) as error:
            if not self.batched or out_of_memory(error):
                raise
            self._formulate(False)  # vmap has no rule for some operations, and none may read a value
            size, draws = self._try(stage, tasks)  # fails again where vmap was not the cause
            why = str(error.__cause__ or error).splitlines()[0]
            note = f"tasks run one by one, since vmap cannot batch them ({why}); "
        self._fixed = draws
        if draws:  # from one stream, so the order of drawing must not depend on free memory
            self._take_at_once(min(self.at_once, _DRAWING) if self.batched else 1)
        return note + self._make_room(size, stage is not None, memory)

    def _try(self, stage: Stage | None, tasks: Task) -> tuple[int, bool]:
        """Return the bytes that one task takes, and whether it draws random numbers, at the end of training too."""
        task = tuple(part[0] for part in tasks)
        learns = stage is not None and not has_update(self.module)
        contexts = [replace(self._context, episode=episode) for episode in ((0, stage.episodes) if stage else (0,))]
        sizes = []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            before = self._random_states()
            for context in contexts:
                work = self._score if stage is None else partial(learn_tasks, context)
                with task_context(context):
                    sizes.append(probe_task(self.module, partial(_on, work, tasks), task, learns))
            return max(sizes), not all(map(torch.equal, before, self._random_states()))

    def _random_states(self) -> list[Tensor]:
        """Return the state of every stream that a task may draw from."""
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def _make_room(self, task: int, training: bool, budget: MemoryBudget) -> str:
        """Set how many tasks of `task` bytes run at once and return a note of what that takes.

        Beside the tasks training holds five times the weights: gradient, its sum over tasks, two moments of the
        optimiser, the best so far.
        """
        weights = sum(value.numel() * value.element_size() for value in self.module.parameters())
        used, available = device_memory(self.device)
        base = used + (5 * weights if training else 0)
        memory = TaskMemory(task, base, self.at_once, self.at_once if self._fixed else 1)
        self._take_at_once(memory.fit(available, budget))
        return memory.note("training" if training else "evaluation", self.at_once)

    @property
    def _context(self) -> TaskContext:
        return TaskContext(self.batched, precision=self.precision)

    def _join(self) -> None:
        """End the processes that score, if there are any; threads take over."""
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
        return score_tasks(self._context, self.algorithm, algorithm, tasks)

    def _apply(self, update: Weights) -> None:
        buffers = dict(self.module.named_buffers())
        for name, value in update.items():
            if name in buffers:
                buffers[name].copy_(value)
            else:
                self.module.get_parameter(name).grad = value

    def _groups(
        self, work: Callable[[TaskAdaptiveAlgorithm, Task], Any], images: Tensor, batch: EpisodeBatch
    ) -> Iterator[Any]:
        """Yield the results of `work` on the groups of tasks, in order."""
        training = self.module.training

        def call(algorithm: TaskAdaptiveAlgorithm, start: int) -> Any:
            algorithm.train(training)
            with torch.inference_mode(False):  # inference mode has no gradients at all
                return work(algorithm, tasks_of(algorithm.backbone, images, batch[start : start + self.group]))

        starts = range(0, len(batch), self.group)
        if self._inline:
            return (call(self.module, start) for start in starts)
        return self._pool.map(call, starts)

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        """Return the result of `attempt`, repeated with half as many tasks at once whenever memory runs out."""
        while True:
            try:
                return attempt()
            except (RuntimeError, MemoryError) as error:
                killed = isinstance(error, BrokenProcessPool)  # by the system, most likely for its memory
                if self.at_once == 1 or self._fixed or not (killed or out_of_memory(error)):
                    raise
            self._take_at_once(self.at_once // 2)


def _on(work: Callable[[TaskAdaptiveAlgorithm, Task], _T], tasks: Task, algorithm: TaskAdaptiveAlgorithm) -> _T:
    return work(algorithm, tasks)


def _faster_formulation(algorithm: TaskAdaptiveAlgorithm, device: torch.device) -> str:
    """Return ``vmap`` or ``loop``: a network without convolutions is too small to be run task by task."""
    dense = all(value.dim() <= 2 for value in algorithm.backbone.parameters())
    return "vmap" if device.type == "cuda" or dense else "loop"
