"""Implicit MAML (Rajeswaran, Finn, Kakade and Levine 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import Backbone, TaskAdaptiveAlgorithm, Weights, collect_statistics, gradients, require_at_least


class Imaml(TaskAdaptiveAlgorithm):
    """MAML with a proximal inner problem and the meta-gradient of its solution, whatever path led there.

    phi = argmin L(phi; support) + lambda/2 |phi - theta|^2 (equation 3) by gradient descent; its meta-gradient is
    (I + H/lambda)^-1 times the gradient of the query loss at phi (lemma 1), by conjugate gradients (algorithm 2).
    Memory does not grow with the number of inner steps, in training neither.

    Args:
        backbone, way: as for every `TaskAdaptiveAlgorithm`.
        lr, steps: of gradient descent on the inner problem.
        regularisation: lambda.
        cg_steps: steps of conjugate gradients.
        bn: the statistics of batch normalisation.
    """

    def __init__(
        self,
        backbone: Backbone,
        way: int,
        lr: float = 0.1,
        steps: int = 16,
        regularisation: float = 2.0,
        cg_steps: int = 5,
        bn: str = "transductive",
    ) -> None:
        require_at_least("steps", steps, 1)
        require_at_least("cg_steps", cg_steps, 1)
        require_at_least("lr", lr, 0)
        require_at_least("regularisation", regularisation, 1e-6)
        super().__init__(backbone, way, bn)
        self.lr, self.steps, self.regularisation, self.cg_steps = lr, steps, regularisation, cg_steps

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Solve the inner problem approximately."""
        start = params
        for _ in range(self.steps):
            slopes = gradients(lambda weights: self.loss(weights, support, labels), params, first_order=True)
            params = {
                name: value - self.lr * (slopes[name] + self.regularisation * (value - start[name]))
                for name, value in params.items()
            }
        return params

    def update(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> tuple[Tensor, Weights]:
        """Return the query loss at the solution and the implicit meta-gradient."""
        solution = self.adapt(self.start(), support, labels)

        def outer(weights: Weights) -> Tensor:
            return F.cross_entropy(self.predict(weights, support, labels, query), truth)

        def product(vector: Weights) -> Weights:
            with collect_statistics():  # set aside: these passes repeat what those of the inner loop saw
                curved = hessian_product(lambda weights: self.loss(weights, support, labels), solution, vector)
            return {name: vector[name] + curved[name] / self.regularisation for name in vector}

        return outer(solution), conjugate_gradients(product, gradients(outer, solution), self.cg_steps)


def hessian_product(loss: Callable[[Weights], Tensor], params: Weights, vector: Weights) -> Weights:
    """Return the Hessian of ``loss(params)`` times a vector."""

    def slope_along(weights: Weights) -> Tensor:
        slopes = torch.func.grad(loss)(weights)
        return _dot(slopes, vector)

    product: Weights = torch.func.grad(slope_along)({name: value.detach() for name, value in params.items()})
    return product


def conjugate_gradients(product: Callable[[Weights], Weights], target: Weights, steps: int) -> Weights:
    """Solve ``product(x) = target`` for x from 0 (Hestenes and Stiefel 1952).

    The Hessian of a network need not be positive; where a direction has no positive curvature the search stops with
    what it has (Steihaug 1983), and if that is the first, with `target` itself: the first-order gradient.
    """
    solution = {name: torch.zeros_like(value) for name, value in target.items()}
    residual, direction, size = dict(target), dict(target), _dot(target, target)
    going = size > 0
    for number in range(steps):
        image = product(direction)
        curvature = _dot(direction, image)
        going = going & (curvature > 0)
        if number == 0:
            started = going
        step = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        solution = {name: solution[name] + step * direction[name] for name in solution}
        residual = {name: residual[name] - step * image[name] for name in residual}
        before, size = size, _dot(residual, residual)
        turn = size / torch.where(before > 0, before, 1.0)
        direction = {name: residual[name] + turn * direction[name] for name in residual}
    return {name: torch.where(started, solution[name], target[name]) for name in solution}


def _dot(a: Weights, b: Weights) -> Tensor:
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()
