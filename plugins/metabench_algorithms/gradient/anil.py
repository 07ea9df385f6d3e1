"""Almost no inner loop (Raghu, Raghu, Bengio and Vinyals 2020)."""

from __future__ import annotations

from torch import Tensor

from metabench.api import Weights, gradient_step, gradients, objective
from metabench_algorithms.gradient.maml import Maml


class Anil(Maml):
    """MAML whose inner loop moves the classifier alone (section 4.2): features are computed once for a task."""

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Descend on the support loss by the classifier."""
        steps, lr = self.schedule()
        features = self.features(params, support)
        head = {name: value for name, value in params.items() if name.startswith("classifier.")}
        for _ in range(steps):
            slopes = gradients(
                lambda weights: objective(self.classify(weights, features), labels), head, self.first_order
            )
            head = gradient_step(head, slopes, lr)
        return {**params, **head}
