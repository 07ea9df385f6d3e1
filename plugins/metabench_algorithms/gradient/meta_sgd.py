"""Meta-SGD (Li, Zhou, Chen and Li 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabench.api import Backbone, TaskAdaptiveAlgorithm, Weights, gradients, require_at_least


class MetaSgd(TaskAdaptiveAlgorithm):
    """MAML that also learns an inner learning rate for every weight: theta' = theta - alpha * gradient (equation 3).

    Args:
        backbone, way: as for every `TaskAdaptiveAlgorithm`.
        lr: initial value of every entry of alpha.
        steps, test_steps: inner steps in training and at evaluation (0: as in training); the paper takes one.
        first_order: leave second derivatives out.
        bn: the statistics of batch normalisation.
    """

    def __init__(
        self,
        backbone: Backbone,
        way: int,
        lr: float = 0.1,
        steps: int = 1,
        test_steps: int = 0,
        first_order: bool = False,
        bn: str = "transductive",
    ) -> None:
        require_at_least("steps", steps, 1)
        require_at_least("test_steps", test_steps, 0)
        super().__init__(backbone, way, bn, max(steps, test_steps))
        self.train_steps, self.test_steps, self.first_order = steps, test_steps or steps, first_order
        names = list(self.start())
        self.rates = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.full_like(self.get_parameter(name), lr)) for name in names}
        )

    def steps_now(self) -> int:
        """Return the number of inner steps."""
        return self.train_steps if self.training else self.test_steps

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Descend on the support loss, each weight at its own rate, which may be negative."""
        for step in range(self.steps_now()):

            def loss(weights: Weights, step: int = step) -> Tensor:
                return self.loss(weights, support, labels, step)

            slopes = gradients(loss, params, self.first_order)
            params = {name: value - self.rates[_key(name)] * slopes[name] for name, value in params.items()}
        return params


def _key(name: str) -> str:
    return name.replace(".", "/")  # a parameter's name may not hold a dot
