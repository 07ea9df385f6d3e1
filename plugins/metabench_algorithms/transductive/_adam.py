"""Adam on the weights of many episodes at once."""

from __future__ import annotations

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) with its default betas 0.9 and 0.999 and epsilon 1e-8."""

    def __init__(self, rate: float) -> None:
        self.rate, self.steps = rate, 0
        self.mean, self.square = torch.empty(0), torch.empty(0)

    def step(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """Return the weights after a step, in their own memory."""
        if not self.steps:
            self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps += 1
        self.mean.lerp_(gradient, 0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (self.square / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
        return weights.addcdiv_(self.mean, root, value=-self.rate / (1 - 0.9**self.steps))
