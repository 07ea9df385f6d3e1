"""The multi-class support vector machine of Crammer and Singer (2001), many at once, to the optimum, in float64.

With K = x x' of the support (S, S), the dual problem (Lee et al. 2019, section 3.2) is

    min_a  1/2 tr(a' K a) - sum_n a[n, y_n]   with   a[n, k] <= C [k = y_n],   sum_k a[n, k] = 0,

a (S, W), and x' a the weights of the classifier. With a = C (Y - p), Y the one-hot labels, every row of p is a
distribution over the classes. Divided by C, the Lagrangian has the gradient g - z - v 1', g = Y - K a, where z >= 0 are
the multipliers of p >= 0 and v (S) those of the sums.

Which p are 0 is guessed and the rest solved for, until no p and no z is below 0 (primal-dual active sets:
Hintermueller, Ito and Kunisch 2003). That takes few rounds, but need not end. What it leaves, and problems whose K is
singular, are solved by a primal-dual interior-point method, the predictor and corrector of Mehrotra (1992), which
follows p z = mu to mu = 0.

Both have systems with C K (x) I + diag(w) and fixed sums of rows: one of (S, S) for each class and one more for the
sums, instead of (S W, S W). Where S is large they are solved by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabench.errors import MetabenchError
from metabench.models.solvers.conjugate_gradient import conjugate_gradient, expand_to, inner_products

_TOLERANCE = 1e-4
"""Largest error of the score of an item as long as the longest of the support, proved by the duality gap; errors are
far below what is proved."""
_LARGEST = 1e-2
"""Largest error of such a score that rounding may leave."""
_ROUNDS, _STEPS = 12, 100
"""Of active sets, and of the interior point."""
_TO_BOUNDARY = 0.999
"""Part of the way to the boundary that a step in the interior goes."""
_INDEPENDENT = 1e-8
"""K is singular where the squared distance of an item from the span of those before is below such a share of the
longest squared length."""
_FACTORISED = 64
"""Largest S for which the matrices of systems are factorised, unless K is singular."""
_INEXACT, _EXACT = 1e-2, 1e-10
"""Residuals that conjugate gradients leave, as a share of mu in the interior, of the largest value elsewhere."""

Solve = Callable[[Tensor, Tensor], Tensor]
"""Takes a right side (B, W, S) and the residual (B,) allowed in each unknown."""
Solver = Callable[[Tensor, Tensor], Solve]
"""Takes C K (B, S, S) and weights w (B, W, S), and returns what solves (C K (x) I + diag(w)) x - v 1' = right side for
x with sums of rows 0."""


def crammer_singer(gram: Tensor, labels: Tensor, way: int, c: float) -> Tensor:
    """Return the dual coefficients a (B, S, W) of support vector machines, whose weights are x' a, (B, D, W).

    Their gradient is that of the optimum, by the implicit function theorem.

    Args:
        gram: (B, S, S) inner products of the support; in float64 where rows may be nearly dependent.
        labels: int64 (B, S) in ``[0, way)``.
        way: W.
        c: C, the weight of the hinge losses.

    Raises:
        MetabenchError: the optimum was not reached, or is not told from others by float64.
    """
    coefficients: Tensor = _CrammerSinger.apply(gram, labels, way, c)  # type: ignore[no-untyped-call]
    return coefficients


class _CrammerSinger(torch.autograd.Function):
    """The solution, and its derivative by K."""

    @staticmethod
    def forward(ctx: Any, gram: Tensor, labels: Tensor, way: int, c: float) -> Tensor:
        problem = _Problem(c * gram.double(), torch.nn.functional.one_hot(labels, way).mT.double().contiguous())
        factor = _factor(problem.gram)
        solver = _iterate if factor is None or labels.shape[1] > _FACTORISED else _factorise
        p, solved = problem.labels.clone(), torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        if factor is not None:
            p, solved = _exchange(problem, factor, solver)
        if not bool(solved.all()):
            p[~solved] = _descend(problem[~solved], solver)
        gradient = problem.gradient(p)
        _require_digits(problem, p)
        weight = (gradient - gradient.amin(1, keepdim=True)) / p.clamp_min(1e-100)
        coefficients = c * problem.moved(p)
        ctx.c, ctx.dtype, ctx.solver = c, gram.dtype, solver
        ctx.save_for_backward(problem.gram, weight.clamp_max(1e100), coefficients)
        return coefficients.mT.to(gram.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        """Differentiate the conditions of the optimum: (C K (x) I + diag(z / p)) dp - v 1' = dK a, sums of dp = 0."""
        gram, weight, coefficients = ctx.saved_tensors
        target = -ctx.c * slope.mT.double()
        adjoint = ctx.solver(gram, weight)(target, _EXACT * target.abs().amax((1, 2)))
        return (adjoint.mT @ coefficients).to(ctx.dtype), None, None, None


@dataclass(frozen=True)
class _Problem:
    """A batch of B problems; classes stand before items, here and in p and z (B, W, S).

    Attributes:
        gram: C K (B, S, S). labels: one-hot (B, W, S).
    """

    gram: Tensor
    labels: Tensor

    def moved(self, p: Tensor) -> Tensor:
        """Return Y - p = a / C, without cancellation where p is nearly Y."""
        others = p * (1 - self.labels)
        return self.labels * others.sum(1, keepdim=True) - others

    def gradient(self, p: Tensor) -> Tensor:
        """Return g = Y - K a."""
        return self.labels - self.moved(p) @ self.gram

    def unsolved(self, p: Tensor, gradient: Tensor) -> Tensor:
        """Return which duality gaps (B,), divided by C, are above what proves `_TOLERANCE`, and above rounding errors.

        Half the squared distance of the weights from the best ones is at most the gap.
        """
        gaps = inner_products(p, gradient - gradient.amin(1, keepdim=True))
        return gaps > torch.maximum(_TOLERANCE**2 / (2 * self.longest), self.rounding(p))

    @property
    def longest(self) -> Tensor:
        """C times the squared length (B,) of the longest item."""
        return self.gram.diagonal(dim1=1, dim2=2).amax(1)

    def rounding(self, p: Tensor) -> Tensor:
        """Return the rounding errors (B,) of duality gaps."""
        return 2 * torch.finfo(p.dtype).eps * p.shape[2] * self.longest * self.moved(p).abs().sum((1, 2))

    def __getitem__(self, rows: Tensor) -> _Problem:
        return _Problem(self.gram[rows], self.labels[rows])


def _require_digits(problem: _Problem, p: Tensor) -> None:
    """Raise MetabenchError where rounding may leave larger errors than `_LARGEST`."""
    if bool((2 * problem.longest * problem.rounding(p) > _LARGEST**2).any()):
        raise MetabenchError(
            "cannot fit a support vector machine: the features are so long that float64 does not tell the optimum. "
            "Divide the features by their length, or by their standard deviation."
        )


def _factor(gram: Tensor) -> Tensor | None:
    """Return the Cholesky factor of C K (B, S, S), or None where one of them is singular."""
    factor, failed = torch.linalg.cholesky_ex(gram)
    apart = factor.diagonal(dim1=1, dim2=2).amin(1).square() / gram.diagonal(dim1=1, dim2=2).amax(1)
    return None if bool((failed > 0).any() or (apart < _INDEPENDENT).any()) else factor


def _exchange(problem: _Problem, factor: Tensor, solver: Solver) -> tuple[Tensor, Tensor]:
    """Return p, and whether it is the optimum (B,), by active sets from the solution without p >= 0."""
    p = problem.labels - torch.cholesky_solve((problem.labels - 1 / problem.labels.shape[1]).mT, factor).mT
    bound, best, rows = p < 0, torch.empty_like(p), torch.arange(len(p), device=p.device)
    solved = torch.zeros_like(rows, dtype=torch.bool)
    for _ in range(_ROUNDS):
        p = torch.where(bound, 0, p)
        p = p / p.sum(1, keepdim=True)
        inside = p.clamp_min(0) / p.clamp_min(0).sum(1, keepdim=True)
        left = problem.unsolved(inside, problem.gradient(inside))
        if not bool(left.all()):
            best[rows[~left]], solved[rows[~left]] = inside[~left], True
            problem, p, bound, rows = problem[left], p[left], bound[left], rows[left]
            if not len(rows):
                break
        gradient = problem.gradient(p)
        weight = torch.where(bound, expand_to(1e16 * problem.gram.diagonal(dim1=1, dim2=2).amax(1), p), 0)
        p = p + solver(problem.gram, weight)(-gradient, _EXACT * gradient.abs().amax((1, 2)))
        gradient = problem.gradient(p)
        v = torch.where(bound, 0, gradient).sum(1, keepdim=True) / (~bound).sum(1, keepdim=True)
        bound = torch.where(bound, gradient > v, p < 0)
    return best, solved


def _descend(problem: _Problem, solver: Solver) -> Tensor:
    """Return the optima p by an interior-point method; problems leave the batch when they are solved."""
    p, z = _start(problem)
    best, rows = torch.empty_like(p), torch.arange(len(p), device=p.device)
    for _ in range(_STEPS):
        gradient = problem.gradient(p)
        left = problem.unsolved(p, gradient)
        if not bool(left.all()):
            best[rows[~left]] = p[~left]
            if not bool(left.any()):
                return best
            problem, p, z, rows, gradient = problem[left], p[left], z[left], rows[left], gradient[left]
        p, z = _step(problem.gram, p, z, gradient, solver)
    raise MetabenchError(
        f"cannot fit a support vector machine: the optimum was not reached in {_STEPS} steps. Lower C, or divide the "
        "features by their length."
    )


def _start(problem: _Problem) -> tuple[Tensor, Tensor]:
    """Return the best p between Y and the uniform distribution, and z that fit its gradient."""
    centred = problem.labels - 1 / problem.labels.shape[1]
    curvature = inner_products(centred, centred @ problem.gram)
    share = torch.where(curvature > 0, inner_products(centred, centred) / curvature, 1).clamp_max(1)
    p = problem.labels - expand_to(share, centred) * centred
    above = problem.gradient(p)
    above = above - above.amin(1, keepdim=True)
    return p, above + expand_to(0.1 * inner_products(p, above) / p.shape[2] + 1e-3, p)


def _step(gram: Tensor, p: Tensor, z: Tensor, gradient: Tensor, solver: Solver) -> tuple[Tensor, Tensor]:
    """Return (p, z) after a predictor and a corrector."""
    weight, mu = z / p, (p * z).mean((1, 2))
    solve = solver(gram, weight)

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
    return p + taken * dp, z + taken * dz


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
