"""Settings of a task that its code gets beside its arguments; each thread has its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class TaskContext:
    """Settings that the harness gives the code of a task."""

    batched: bool = False
    """Tasks run under ``vmap``."""
    episode: int = 0
    """Training episodes that came before."""
    first_order: bool = False
    """Second derivatives are left out for now, whatever the algorithm asks."""
    precision: str = "float32"
    """Of the backbone; everything else is in float32."""
    label_smoothing: float = 0.0
    """Share of the target that the default loss of a `FeatureHead` spreads over all classes."""


_CONTEXT: ContextVar[TaskContext] = ContextVar("task", default=TaskContext())  # noqa: B039 - it is frozen


@contextmanager
def task_context(context: TaskContext) -> Iterator[None]:
    """Set the context that `gradients`, `training_episode` and the default loss of a head read."""
    token = _CONTEXT.set(context)
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def context_now() -> TaskContext:
    """Return the context in force; outside any task, the defaults."""
    return _CONTEXT.get()


def training_episode() -> int:
    """Return the number of training episodes so far, for settings that change during meta-training."""
    return _CONTEXT.get().episode
