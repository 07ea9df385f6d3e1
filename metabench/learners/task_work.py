"""Work on a group of tasks: adapting and scoring, or learning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from metabench.learners.episode_tasks import Task
from metabench.learners.thread_pool import PlainLayout
from metabench.models.adaptive import TaskAdaptiveAlgorithm, Weights, run_task, run_update
from metabench.models.output_checks import require_tensor
from metabench.models.task_context import TaskContext, task_context


def score_tasks(context: TaskContext, owner: str, algorithm: TaskAdaptiveAlgorithm, tasks: Task) -> Tensor:
    """Return the scores (B, Q, way) of the queries of a group of tasks.

    Args:
        context: says whether the group is batched.
        owner: the algorithm's name in messages.
        algorithm: adapts to each task.
        tasks: with a leading dimension B.

    Raises:
        OutputError: the algorithm returned another shape or type than promised.
    """
    with torch.no_grad(), task_context(context):
        scores: Tensor = _map_tasks(context.batched, partial(_scores, algorithm, owner), tasks)
        return scores.float()


def learn_tasks(context: TaskContext, algorithm: TaskAdaptiveAlgorithm, tasks: Task) -> tuple[Tensor, Weights]:
    """Return the sums over a group of tasks of the loss, and of what goes to parameters and buffers."""
    custom = has_update(algorithm)
    with torch.set_grad_enabled(not custom), task_context(context):
        if custom:
            losses, update = _map_tasks(context.batched, partial(run_update, algorithm), tasks)
            return losses.sum(), {name: value.sum(0) for name, value in update.items()}
        losses, buffers = _map_tasks(context.batched, partial(run_task, algorithm), tasks)
        learned = {name: value for name, value in algorithm.named_parameters() if value.requires_grad}
        gradients = torch.autograd.grad(losses.sum(), list(learned.values()), allow_unused=True)
        slopes = {name: slope for name, slope in zip(learned, gradients, strict=True) if slope is not None}
        return losses.detach().sum(), slopes | {name: value.detach().sum(0) for name, value in buffers.items()}


def has_update(algorithm: TaskAdaptiveAlgorithm) -> bool:
    """Return whether an algorithm has an outer update of its own."""
    return type(algorithm).update is not TaskAdaptiveAlgorithm.update


def _map_tasks(batched: bool, function: Callable[..., Any], tasks: Task) -> Any:
    """Return the results of `function` on every task of a group, stacked."""
    if batched:
        with PlainLayout():
            return torch.func.vmap(function, randomness="different")(*tasks)
    results = [function(*(part[index] for part in tasks)) for index in range(len(tasks[0]))]
    return pytree.tree_map(lambda *items: torch.stack(items), *results)


def _scores(
    algorithm: TaskAdaptiveAlgorithm, owner: str, support: Tensor, labels: Tensor, query: Tensor, _truth: Tensor
) -> Tensor:
    scores = algorithm.predict(algorithm.adapt(algorithm.start(), support, labels), support, labels, query)
    return require_tensor(scores, (len(query), algorithm.way), owner, query.device)
