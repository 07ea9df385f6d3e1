"""Multinomial logistic regression of many small problems at once, to the optimum, in float64.

For every episode, with features x (S, D), labels y and C = `c`, the minimum over weights W (D, K), intercepts b (K) of

    sum_i -log softmax(W' x_i + b)[y_i] + |W|^2 / (2 C),

the objective of scikit-learn's ``LogisticRegression(C=c)``: the intercept is not penalised. Three facts make it cheap:

- The best W lies in the span of the support, and the penalty does not change under rotation. In the eigenbasis
  of the Gram matrix there are min(S, D) coordinates instead of D.
- Since intercepts are free, the support may be centred. In the eigenbasis the centred data are
  orthogonal, so that any class-blind bound of the Hessian is diagonal: the preconditioner of conjugate gradients.
- Newton's method takes few steps, each of them batched products of small matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabench.errors import MetabenchError
from metabench.models.solvers.conjugate_gradient import conjugate_gradient, inner_products

_TOLERANCE = 1e-8
"""Norm of the gradient at the end, relative to the start; rounding aside."""
_NEWTON, _CG, _HALVINGS = 200, 500, 40


@dataclass(frozen=True)
class _Problem:
    """A batch of B problems in R coordinates, the last of which is the constant that the intercept weighs.

    Attributes:
        x: (B, S, R), of zero mean but for the constant. onehot: (B, S, K).
        squares: (B, R, 1), the diagonal of ``x' x``.
        penalty: (R, 1), 1 / C, and 0 for the intercept.
    """

    x: Tensor
    onehot: Tensor
    squares: Tensor
    penalty: Tensor

    def value(self, theta: Tensor) -> Tensor:
        """Return the objective (B,) at weights (B, R, K)."""
        scores = self.x @ theta
        losses = scores.logsumexp(-1) - (scores * self.onehot).sum(-1)
        return losses.sum(-1) + 0.5 * (self.penalty * theta.square()).sum((1, 2))

    def gradient(self, theta: Tensor, odds: Tensor) -> Tensor:
        """Return the gradient (B, R, K), given the probabilities (B, S, K) at `theta`."""
        return self.x.mT @ (odds - self.onehot) + self.penalty * theta

    def curvature(self, odds: Tensor, direction: Tensor) -> Tensor:
        """Return the Hessian times `direction` (B, R, K)."""
        return self.x.mT @ self.moved(odds, direction) + self.penalty * direction

    def moved(self, odds: Tensor, direction: Tensor) -> Tensor:
        """Return the change (B, S, K) of the probabilities, to first order."""
        moved = odds * (self.x @ direction)
        return moved - odds * moved.sum(-1, keepdim=True)

    def preconditioner(self, odds: Tensor) -> Tensor:
        """Return the diagonal (B, R, 1) of the Hessian if every image had the mean curvature of softmax."""
        way = odds.shape[-1]
        mean = (odds * (1 - odds)).mean((1, 2), keepdim=True) * (way / (way - 1))
        return self.penalty + mean.clamp_min(1e-12) * self.squares


def logistic_regression(support: Tensor, labels: Tensor, way: int, c: float) -> tuple[Tensor, Tensor]:
    """Return the best W (B, D, K) and b (B, 1, K) for support (B, S, D) of `way` = K classes, in its precision.

    Their gradient by the support is that of the optimum, by the implicit function theorem.

    Args:
        support: (B, S, D).
        labels: int64 (B, S) in ``[0, way)``.
        way: K.
        c: C, the inverse strength of the penalty.

    Raises:
        MetabenchError: the optimum was not reached.
    """
    weights, intercept = _LogisticRegression.apply(support, labels, way, c)  # type: ignore[no-untyped-call]
    return weights, intercept


class _LogisticRegression(torch.autograd.Function):
    """The solution, and its derivative by the support."""

    @staticmethod
    def forward(ctx: Any, support: Tensor, labels: Tensor, way: int, c: float) -> tuple[Tensor, Tensor]:
        weights, intercept = _fit(support, labels, way, c)
        ctx.c = c
        ctx.save_for_backward(support, labels, weights, intercept)
        return weights, intercept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_weights: Tensor, by_intercept: Tensor) -> tuple[Tensor, None, None, None]:
        """Differentiate gradient = 0, in coordinates with the intercept of centred features."""
        support, labels, *solution = ctx.saved_tensors
        x, weights, intercept = (part.double() for part in (support, *solution))
        centre = x.mean(1, keepdim=True)
        problem = _problem(x - centre, (x - centre).square().sum(1), labels, weights.shape[2], ctx.c)
        odds = (x @ weights + intercept).softmax(-1)
        slope = by_intercept.double() - by_intercept.double().mean(-1, keepdim=True)  # b has the sum 0
        target = torch.cat([by_weights.double() - centre.mT @ slope, slope], 1)
        adjoint = conjugate_gradient(
            partial(problem.curvature, odds), target, 1e-10 * _norm(target), diagonal=problem.preconditioner(odds)
        )
        moved = problem.moved(odds, adjoint)
        by_support = -(odds - problem.onehot) @ adjoint[:, :-1].mT - moved @ weights.mT
        return by_support.to(support.dtype), None, None, None


def _fit(support: Tensor, labels: Tensor, way: int, c: float) -> tuple[Tensor, Tensor]:
    centre = support.mean(1, keepdim=True)
    centred = support - centre
    x, squares, back = _rotate(centred.double())
    theta = _solve(_problem(x, squares, labels, way, c))
    weights = (back @ theta[:, :-1]).to(support.dtype)
    if back.shape[1] != support.shape[2]:
        weights = centred.mT @ weights
    return weights, theta[:, -1:].to(support.dtype) - centre @ weights


def _problem(x: Tensor, squares: Tensor, labels: Tensor, way: int, c: float) -> _Problem:
    """Return the problems of centred x (B, S, R), whose columns have the squared lengths (B, R)."""
    return _Problem(
        torch.cat([x, x.new_ones(*x.shape[:2], 1)], -1),
        torch.nn.functional.one_hot(labels, way).double(),
        torch.cat([squares, squares.new_full((len(x), 1), x.shape[1])], -1)[..., None],
        torch.cat([x.new_full((x.shape[2], 1), 1 / c), x.new_zeros(1, 1)]),
    )


def _rotate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centred x (B, S, D) in R = min(S, D) orthogonal coordinates, and their squared lengths (B, R).

    The third is what brings weights back: (B, D, R) to those of the features, or (B, S, R) to those of the rows of x.
    """
    if x.shape[2] <= x.shape[1]:
        squares, basis = torch.linalg.eigh(x.mT @ x)
        return x @ basis, squares.clamp_min(0), basis
    squares, left = torch.linalg.eigh(x @ x.mT)
    noise = squares[:, -1:] * (x.shape[1] * torch.finfo(x.dtype).eps)  # what rounding leaves of directions without data
    squares = torch.where(squares > noise, squares, 0)
    lengths = squares.sqrt()[:, None]
    return left * lengths, squares, left * torch.where(lengths > 0, 1 / lengths, 0)


def _solve(problem: _Problem) -> Tensor:
    """Return the weights (B, R, K) at the minimum, by Newton's method with conjugate gradients and halved steps."""
    batch, _, coordinates = problem.x.shape
    theta = problem.x.new_zeros(batch, coordinates, problem.onehot.shape[-1])
    value, start = problem.value(theta), None
    rounding = 1e-14 * problem.squares.sum((1, 2)).sqrt()
    for _ in range(_NEWTON):
        odds = (problem.x @ theta).softmax(-1)
        gradient = problem.gradient(theta, odds)
        size = _norm(gradient)
        start = size if start is None else start
        active = size > _TOLERANCE * start + rounding
        if not bool(active.any()):
            return theta
        step = _newton_step(
            problem, odds, gradient, torch.where(active, size / start, 0).sqrt().clamp_max(0.1) * size, active
        )
        theta, value = _descend(problem, theta, value, step, inner_products(gradient, step))
    raise MetabenchError(
        f"cannot fit logistic regression: the optimum was not reached in {_NEWTON} steps. Lower C, or divide the "
        "features by their length."
    )


def _newton_step(problem: _Problem, odds: Tensor, gradient: Tensor, goal: Tensor, active: Tensor) -> Tensor:
    """Return -H^-1 gradient up to a residual of norm `goal` (B,), zero where not `active`."""
    target = torch.where(active[:, None, None], -gradient, 0)
    diagonal = problem.preconditioner(odds)
    return conjugate_gradient(partial(problem.curvature, odds), target, goal, diagonal=diagonal, steps=_CG)


def _descend(problem: _Problem, theta: Tensor, value: Tensor, step: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return `theta` after the step, halved in each problem until it descends (Armijo), and the new objective."""
    length = torch.ones_like(value)
    for _ in range(_HALVINGS):
        moved = theta + length[:, None, None] * step
        reached = problem.value(moved)
        # Near the optimum the objective differs by rounding only.
        short = reached > value + 1e-4 * length * slope + 1e-14 * value.abs()
        if not bool(short.any()):
            break
        length = torch.where(short, length / 2, length)
    return moved, reached


def _norm(a: Tensor) -> Tensor:
    return inner_products(a, a).sqrt()
