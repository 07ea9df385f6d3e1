"""The baseline of MAML's regression experiments: one network for all tasks, then gradient steps (Finn et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.api import objective
from metabench_algorithms.gradient.maml import Maml


class Pretrain(Maml):
    """Trains on the points of all tasks as if they were of one, and adapts by gradient descent as MAML does.

    Section 5.1. Tasks that contradict each other, as functions of one input do, leave it the mean of all; how far
    gradient steps come from there is what meta-learning is compared with.
    """

    def task_loss(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of the unadapted network on support and queries."""
        return objective(self.logits(self.start(), torch.cat([support, query])), torch.cat([labels, truth]))
