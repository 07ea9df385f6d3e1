"""The multi-class support vector machine of Crammer and Singer (2001), many at once, to the optimum, in float64.

With K = x x' of the support (S, S), the dual problem (Lee et al. 2019, section 3.2) is

    min_a  1/2 tr(a' K a) - sum_n a[n, y_n]   with   a[n, k] <= C [k = y_n],   sum_k a[n, k] = 0,

a (S, W), and x' a the weights of the classifier. With a = C (Y - p), Y the one-hot labels, every row of p is a
distribution over the classes. Divided by C, the Lagrangian has the gradient g - z - v 1', g = Y - K a, where z >= 0 are
the multipliers of p >= 0 and v (S) those of the sums. A primal-dual interior-point method with the predictor and
corrector of Mehrotra (1992) follows p z = mu to mu = 0.

Its linear systems have the matrix C K (x) I + diag(z / p), with the sums of rows fixed: (S, S) for each class and one
more for the sums, instead of (S W, S W). Where S is large they are solved by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabench.errors import MetabenchError
from metabench.models.solvers.conjugate_gradient import conjugate_gradient, expand_to, inner_products

_TOLERANCE = 1e-4
"""Largest error of the score of an item as long as the longest of the support, proved by the duality gap. The last step
divides the gap by ten or more, and errors are far below what is proved."""
_STEPS = 100
_INSIDE, _NEARER = 0.1, 0.3
"""A start is moved so far inside, as a share of the distance of the other from Y, and taken where its gap is so much
smaller."""
_TO_BOUNDARY = 0.999
"""Part of the way to the boundary that a step goes."""
_FACTORISED, _INDEPENDENT = 64, 1e-8
"""Matrices are factorised up to this S, where the squared distance of an item from the span of those before is at least
such a share of the longest squared length. Inverses of nearly singular matrices would be too inexact."""
_INEXACT, _EXACT = 1e-2, 1e-10
"""Residuals that conjugate gradients leave, as a share of mu in a step, and of the largest value in a gradient."""

Solve = Callable[[Tensor, Tensor], Tensor]
"""Takes a right side (B, W, S) and the residual (B,) allowed in each unknown."""
Solver = Callable[[Tensor, Tensor], Solve]
"""Takes C K (B, S, S) and weights (B, W, S), and returns what solves (C K (x) I + diag(weight)) x - v 1' = right side
for x with sums of rows 0."""


def crammer_singer(gram: Tensor, labels: Tensor, way: int, c: float) -> Tensor:
    """Return the dual coefficients a (B, S, W) of support vector machines, whose weights are x' a, (B, D, W).

    Their gradient is that of the optimum, by the implicit function theorem.

    Args:
        gram: (B, S, S) inner products of the support; in float64 where rows may be nearly dependent.
        labels: int64 (B, S) in ``[0, way)``.
        way: W.
        c: C, the weight of the hinge losses.

    Raises:
        MetabenchError: the optimum was not reached.
    """
    coefficients: Tensor = _CrammerSinger.apply(gram, labels, way, c)  # type: ignore[no-untyped-call]
    return coefficients


class _CrammerSinger(torch.autograd.Function):
    """The solution, and its derivative by K."""

    @staticmethod
    def forward(ctx: Any, gram: Tensor, labels: Tensor, way: int, c: float) -> Tensor:
        onehot = torch.nn.functional.one_hot(labels, way).mT.double().contiguous()
        scaled = c * gram.double()
        factor = _factor(scaled)
        solver = _iterate if factor is None else _factorise
        optimum = _optimum(_start(scaled, onehot, factor), solver)
        coefficients = c * optimum.moved
        ctx.c, ctx.dtype, ctx.solver = c, gram.dtype, solver
        above = optimum.gradient - optimum.gradient.amin(1, keepdim=True)
        ctx.save_for_backward(scaled, above / optimum.p, coefficients)
        return coefficients.mT.to(gram.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        """Differentiate the conditions of the optimum: (C K (x) I + diag(z / p)) dp - dv = dK a, sums of dp = 0."""
        gram, weight, coefficients = ctx.saved_tensors
        target = -ctx.c * slope.mT.double()
        adjoint = ctx.solver(gram, weight)(target, _EXACT * target.abs().amax((1, 2)))
        return (adjoint.mT @ coefficients).to(ctx.dtype), None, None, None


@dataclass(frozen=True)
class _Point:
    """Points between the constraints of B problems; classes stand before items.

    Attributes:
        gram: C K (B, S, S). labels: one-hot (B, W, S).
        p, z: (B, W, S), above 0.
    """

    gram: Tensor
    labels: Tensor
    p: Tensor
    z: Tensor

    @property
    def moved(self) -> Tensor:
        """Y - p = a / C, without cancellation where p is nearly Y."""
        others = self.p * (1 - self.labels)
        return self.labels * others.sum(1, keepdim=True) - others

    @property
    def gradient(self) -> Tensor:
        """Y - K a."""
        return self.labels - self.moved @ self.gram

    def gaps(self, gradient: Tensor) -> Tensor:
        """Return the duality gaps (B,), divided by C."""
        return inner_products(self.p, gradient - gradient.amin(1, keepdim=True))

    def tolerances(self) -> Tensor:
        """Return the gaps (B,) that prove `_TOLERANCE`, or that rounding leaves where they are larger.

        Half the squared distance of the weights from the best ones is at most C times the gap.
        """
        longest = self.gram.diagonal(dim1=1, dim2=2).amax(1)
        size = self.p.shape[2] * longest * self.moved.abs().sum((1, 2))
        return torch.maximum(_TOLERANCE**2 / (2 * longest), 2 * torch.finfo(size.dtype).eps * size)

    def __getitem__(self, rows: Tensor) -> _Point:
        return _Point(*(getattr(self, item.name)[rows] for item in fields(self)))


def _start(gram: Tensor, labels: Tensor, factor: Tensor | None) -> _Point:
    """Return where to start: the best p between Y and the uniform distribution, and multipliers that fit its gradient.

    Where K has a `factor`, the solution without p >= 0, clipped, is often far nearer to the optimum: with many features
    few of its values are below 0.
    """
    centred = labels - 1 / labels.shape[1]
    curvature = inner_products(centred, centred @ gram)
    share = torch.where(curvature > 0, inner_products(centred, centred) / curvature, 1).clamp_max(1)
    point = _Point(gram, labels, labels - expand_to(share, labels) * centred, labels)
    if factor is not None:
        free = labels - torch.cholesky_solve(centred.mT, factor).mT
        inside = torch.maximum(free, expand_to(_INSIDE * share / labels.shape[1], labels))
        other = replace(point, p=inside / inside.sum(1, keepdim=True))
        nearer = other.gaps(other.gradient) < _NEARER * point.gaps(point.gradient)
        point = replace(point, p=torch.where(expand_to(nearer, labels), other.p, point.p))
    gradient = point.gradient
    shift = 0.3 * point.gaps(gradient) / labels.shape[2] + 1e-4
    return replace(point, z=gradient - gradient.amin(1, keepdim=True) + expand_to(shift, labels))


def _optimum(point: _Point, solver: Solver) -> _Point:
    """Return the optima; problems leave the batch when they are solved."""
    p, left = torch.empty_like(point.p), point
    rows = torch.arange(len(p), device=p.device)
    for _ in range(_STEPS):
        gradient = left.gradient
        active = left.gaps(gradient) > left.tolerances()
        if not bool(active.all()):
            p[rows[~active]] = left.p[~active]
            if not bool(active.any()):
                return replace(point, p=p)
            left, rows, gradient = left[active], rows[active], gradient[active]
        left = _step(left, gradient, solver)
    raise MetabenchError(
        f"cannot fit a support vector machine: the optimum was not reached in {_STEPS} steps. Lower C, or divide the "
        "features by their length."
    )


def _step(point: _Point, gradient: Tensor, solver: Solver) -> _Point:
    """Return the points after a predictor and a corrector."""
    p, z, weight = point.p, point.z, point.z / point.p
    solve, mu = solver(point.gram, weight), (p * z).mean((1, 2))

    def direction(products: Tensor) -> tuple[Tensor, Tensor]:
        """Return (dp, dz) to where g - z - v 1' = 0 and p z = `products`, to first order."""
        dp = solve(products / p - gradient, _INEXACT * mu)
        return dp, products / p - z - weight * dp

    def length(dp: Tensor, dz: Tensor, part: float) -> Tensor:
        """Return the length (B, 1, 1) of the step: at most 1 and at most a part of that to the boundary."""
        inverse = torch.maximum((-dp / p).amax((1, 2)), (-dz / z).amax((1, 2)))
        return expand_to((part / inverse.clamp_min(1e-9)).clamp_max(1), p)

    dp, dz = direction(torch.zeros_like(p))
    ahead = length(dp, dz, 1)
    reached = ((p + ahead * dp) * (z + ahead * dz)).mean((1, 2))
    dp, dz = direction(expand_to(mu * (reached / mu) ** 3, p) - dp * dz)
    taken = length(dp, dz, _TO_BOUNDARY)
    return replace(point, p=p + taken * dp, z=z + taken * dz)


def _factor(gram: Tensor) -> Tensor | None:
    """Return the Cholesky factor of C K (B, S, S), or None where systems with it are better solved by iteration."""
    if gram.shape[1] > _FACTORISED:
        return None
    factor, failed = torch.linalg.cholesky_ex(gram)
    apart = factor.diagonal(dim1=1, dim2=2).amin(1).square() / gram.diagonal(dim1=1, dim2=2).amax(1)
    return None if bool((failed > 0).any() or (apart < _INDEPENDENT).any()) else factor


def _factorise(gram: Tensor, weight: Tensor) -> Solve:
    """Solve by the inverse for each class, and their sum for v."""
    matrices = gram[:, None].repeat(1, weight.shape[1], 1, 1)
    matrices.diagonal(dim1=2, dim2=3).add_(weight)
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device).expand_as(matrices)
    roots = torch.linalg.solve_triangular(torch.linalg.cholesky_ex(matrices)[0], identity, upper=False)
    inverses = roots.mT @ roots
    sums = torch.linalg.cholesky_ex(inverses.sum(1))[0]

    def solve(target: Tensor, residual: Tensor) -> Tensor:
        alone = (inverses @ target[..., None])[..., 0]
        v = -torch.cholesky_solve(alone.sum(1)[..., None], sums)
        x: Tensor = alone + (inverses @ v[:, None])[..., 0]
        return x

    return solve


def _iterate(gram: Tensor, weight: Tensor) -> Solve:
    """Solve by conjugate gradients in unknowns scaled to a diagonal of 1, orthogonal to the constraints."""
    squares = gram.diagonal(dim1=1, dim2=2)[:, None]
    longest = squares.amax(2, keepdim=True).clamp_min(1e-30)
    scale = torch.maximum(weight + squares, 1e-12 * longest).rsqrt()  # of an item of zeros there may be nothing
    normal: Tensor = scale / torch.linalg.vector_norm(scale, dim=1, keepdim=True)
    own = scale.square() * weight

    def tangent(x: Tensor) -> Tensor:
        return x - normal * (normal * x).sum(1, keepdim=True)

    def product(x: Tensor) -> Tensor:
        return tangent(own * x + scale * ((scale * x) @ gram))

    def solve(target: Tensor, residual: Tensor) -> Tensor:
        goal = residual * torch.linalg.vector_norm((weight + longest).rsqrt(), dim=(1, 2))
        return scale * conjugate_gradient(product, tangent(scale * target), goal)

    return solve
