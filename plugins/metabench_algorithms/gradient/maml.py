"""Model-agnostic meta-learning (Finn, Abbeel and Levine 2017)."""

from __future__ import annotations

from torch import Tensor

from metabench.api import (
    Backbone,
    TaskAdaptiveAlgorithm,
    UsageError,
    Weights,
    gradient_step,
    gradients,
    require_at_least,
)


class Maml(TaskAdaptiveAlgorithm):
    """Learns weights from which a few steps of gradient descent on the support set solve a task (algorithm 2).

    Args:
        backbone, way: as for every `TaskAdaptiveAlgorithm`.
        lr, steps: of the inner loop in meta-training (alpha in the paper).
        test_lr, test_steps: of the inner loop at evaluation; 0 means as in training.
        first_order: leave second derivatives out (section 5.2).
        bn: the statistics of batch normalisation.
    """

    def __init__(
        self,
        backbone: Backbone,
        way: int,
        lr: float = 0.4,
        steps: int = 1,
        test_lr: float = 0.0,
        test_steps: int = 0,
        first_order: bool = False,
        bn: str = "transductive",
    ) -> None:
        require_at_least("steps", steps, 1)
        require_at_least("test_steps", test_steps, 0)
        for name, rate in (("lr", lr), ("test_lr", test_lr)):
            require_at_least(name, rate, 0)
        super().__init__(backbone, way, bn, max(steps, test_steps))
        self.first_order = first_order
        self.train_schedule = (steps, lr)
        self.test_schedule = (test_steps or steps, test_lr or lr)

    def schedule(self) -> tuple[int, float]:
        """Return the number of inner steps and their learning rate, now."""
        return self.train_schedule if self.training else self.test_schedule

    def steps_now(self) -> int:
        """Return the number of inner steps."""
        return self.schedule()[0]

    def adapted(self, name: str) -> bool:
        """Return whether the inner loop moves the parameter called `name`."""
        return True

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Descend on the support loss, with the whole support set in every step."""
        steps, lr = self.schedule()
        fixed = {name: value for name, value in params.items() if not self.adapted(name)}
        moving = {name: value for name, value in params.items() if self.adapted(name)}
        if not moving:
            raise UsageError("adapts only what this backbone lacks, weights to learn; use another --backbone")
        for step in range(steps):

            def loss(weights: Weights, step: int = step) -> Tensor:
                return self.loss({**fixed, **weights}, support, labels, step)

            moving = gradient_step(moving, gradients(loss, moving, self.first_order), lr)
        return {**fixed, **moving}
