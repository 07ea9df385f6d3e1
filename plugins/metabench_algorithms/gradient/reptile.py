"""Reptile (Nichol, Achiam and Schulman 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import Backbone, TaskAdaptiveAlgorithm, Weights, gradients, require_at_least

_BETA2, _EPSILON = 0.999, 1e-8


class Reptile(TaskAdaptiveAlgorithm):
    """Moves the weights towards those that plain training on a task ends at (algorithm 2, batched).

    The inner optimiser is Adam with beta1 = 0, as in the authors' code (``models.py``). There its second moment is
    a variable that lives on from task to task; here a task starts from a meta-learned second moment, and after a
    batch of tasks that becomes the mean of where they ended. Mini-batches take the images of each class in
    turn, where the authors shuffle.

    Args:
        backbone, way: as for every `TaskAdaptiveAlgorithm`.
        lr: inner learning rate.
        steps, inner_batch: inner steps in training, and images in each of them (0: the whole support set).
        test_steps, test_batch: the same at evaluation.
        bn: the statistics of batch normalisation.
    """

    adam_steps: Tensor

    def __init__(
        self,
        backbone: Backbone,
        way: int,
        lr: float = 1e-3,
        steps: int = 5,
        inner_batch: int = 10,
        test_steps: int = 50,
        test_batch: int = 5,
        bn: str = "transductive",
    ) -> None:
        for name, value in (("steps", steps), ("test_steps", test_steps)):
            require_at_least(name, value, 1)
        for name, value in (("inner_batch", inner_batch), ("test_batch", test_batch)):
            require_at_least(name, value, 0)
        require_at_least("lr", lr, 0)
        super().__init__(backbone, way, bn, 1)
        self.lr = lr
        self.train_schedule, self.test_schedule = (steps, inner_batch), (test_steps, test_batch)
        for name, weight in self.start().items():
            self.register_buffer(_buffer(name), torch.zeros_like(weight))
        self.register_buffer("adam_steps", torch.zeros(()))

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Train on mini-batches of the support set."""
        return self._train(params, support, labels)[0]

    def update(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> tuple[Tensor, Weights]:
        """Return theta - theta', which takes the place of a gradient (section 3), and the second moments."""
        start = self.start()
        params, moments, loss = self._train(start, support, labels)
        steps = self.adam_steps + self.train_schedule[0]
        return loss, {name: start[name] - params[name] for name in start} | moments | {"adam_steps": steps}

    def _train(self, params: Weights, support: Tensor, labels: Tensor) -> tuple[Weights, Weights, Tensor]:
        steps, size = self.train_schedule if self.training else self.test_schedule
        order = by_turns(labels, self.way)
        size = min(size or len(order), len(order))
        moments = {name: self.get_buffer(_buffer(name)) for name in params}
        for step in range(steps):
            rows = order[torch.arange(step * size, (step + 1) * size, device=order.device) % len(order)]
            images, truth = support[rows], labels[rows]
            slopes = gradients(lambda weights, x=images, y=truth: self.loss(weights, x, y), params)  # type: ignore[misc]
            count = self.adam_steps + step + 1
            params, moments = _adam(params, slopes, moments, count, self.lr)
        loss = self.loss(params, support, labels)
        return params, {_buffer(name): value for name, value in moments.items()}, loss


def _adam(params: Weights, slopes: Weights, moments: Weights, count: Tensor, lr: float) -> tuple[Weights, Weights]:
    """Return weights and second moments after a step of Adam without a first moment (Kingma and Ba 2015)."""
    rate = lr * (1 - _BETA2**count).sqrt()
    moments = {name: _BETA2 * moments[name] + (1 - _BETA2) * slopes[name].square() for name in params}
    return {
        name: value - rate * slopes[name] / (moments[name].sqrt() + _EPSILON) for name, value in params.items()
    }, moments


def by_turns(labels: Tensor, way: int) -> Tensor:
    """Return the order (S,) in which the first image of each class comes before any second, and so on."""
    onehot = F.one_hot(labels, way)
    rank = (onehot.cumsum(0) * onehot).sum(-1)
    return (rank * way + labels).argsort()


def _buffer(name: str) -> str:
    return "moment/" + name.replace(".", "/")
