"""MAML++ (Antoniou, Edwards and Storkey 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Backbone, TaskAdaptiveAlgorithm, Weights, gradients, require_at_least, training_episode

_LEAST = 0.03
"""Lowest weight of a step before the last, times the number of steps (the authors' code)."""


class MamlPlusPlus(TaskAdaptiveAlgorithm):
    """MAML with the remedies of section 4.

    Multi-step loss (the queries are scored after every step, the last step counting more and more, see
    `step_weights`), a learned learning rate for each layer and step, and batch normalisation with scale, shift and
    running statistics for each step. Its cosine schedule and the first-order beginning are the recipe's.
    The authors' code keeps such statistics but still normalises by those of the pass, which makes it transductive; with
    ``bn=per-step`` the kept ones are used at evaluation, as section 4 describes.

    Args:
        backbone, way: as for every `TaskAdaptiveAlgorithm`.
        lr: initial learning rate of every layer and step.
        steps: inner steps, in training and at evaluation.
        multi_step_episodes: training episodes after which only the last step counts.
        first_order: leave second derivatives out.
        bn: the statistics of batch normalisation.
    """

    def __init__(
        self,
        backbone: Backbone,
        way: int,
        lr: float = 0.1,
        steps: int = 5,
        multi_step_episodes: int = 40_000,
        first_order: bool = False,
        bn: str = "per-step",
    ) -> None:
        require_at_least("steps", steps, 1)
        require_at_least("multi_step_episodes", multi_step_episodes, 0)
        super().__init__(backbone, way, bn, steps)
        self.steps, self.multi_step_episodes, self.first_order = steps, multi_step_episodes, first_order
        norms = tuple(f"{norm.name}." for norm in self.norms)
        # As in the authors' code, scale and shift of batch norm are meta-learned but not adapted.
        moving = [name for name in self.start() if not name.startswith(norms)]
        self.rates = nn.ParameterDict({_key(name): nn.Parameter(torch.full((steps,), lr)) for name in moving})

    def steps_now(self) -> int:
        """Return the number of inner steps."""
        return self.steps

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Take all steps."""
        for step in range(self.steps):
            params = self.advance(params, support, labels, step)
        return params

    def advance(self, params: Weights, support: Tensor, labels: Tensor, step: int) -> Weights:
        """Take one step, at the rates of that step."""
        moving = {name: value for name, value in params.items() if _key(name) in self.rates}
        slopes = gradients(
            lambda weights: self.loss({**params, **weights}, support, labels, step), moving, self.first_order
        )
        moved = {name: value - self.rates[_key(name)][step] * slopes[name] for name, value in moving.items()}
        return {**params, **moved}

    def task_loss(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> Tensor:
        """Return the weighted sum of the queries' losses after each step (equation 4)."""
        weights = step_weights(self.steps, training_episode(), self.multi_step_episodes)
        params, total = self.start(), torch.zeros((), device=support.device)
        for step, weight in enumerate(weights):
            params = self.advance(params, support, labels, step)
            if weight:
                scores = self.predict(params, support, labels, query, step)
                total = total + weight * F.cross_entropy(scores, truth)
        return total


def step_weights(steps: int, episode: int, until: int) -> list[float]:
    """Return the weight of the loss after each inner step at a training episode; they sum to one.

    All are equal at first; those before the last fall to ``0.03 / steps`` in proportion to `episode`, and from the
    episode `until` on they are zero.
    """
    if episode >= until:
        return [0.0] * (steps - 1) + [1.0]
    early = max((1 - episode / until) / steps, _LEAST / steps)
    return [early] * (steps - 1) + [1 - early * (steps - 1)]


def _key(name: str) -> str:
    return name.replace(".", "/")  # a parameter's name may not hold a dot
