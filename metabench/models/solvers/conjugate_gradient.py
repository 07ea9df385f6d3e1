"""Conjugate gradients for many symmetric linear systems at once (Hestenes and Stiefel 1952)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    target: Tensor,
    goal: Tensor,
    *,
    diagonal: Tensor | None = None,
    steps: int = 500,
) -> Tensor:
    """Return x (B, ...) with ``product(x) = target`` up to a residual of norm `goal`, starting from 0.

    A problem that has reached its goal stays where it is while others go on. Gradients do not pass through it.

    Args:
        product: multiplies (B, ...) by the matrices, symmetric and positive semi-definite.
        target: (B, ...), in the range of the matrices.
        goal: (B,).
        diagonal: positive, broadcasts to `target`; residuals are divided by it (Jacobi's preconditioner). None: ones.
        steps: the largest number of steps.
    """
    solution, residual = torch.zeros_like(target), target
    direction = ready = residual if diagonal is None else residual / diagonal
    strength = inner_products(residual, ready)
    for _ in range(steps):
        image = product(direction)
        length = _ratios(strength, inner_products(direction, image), target)
        solution = solution + length * direction
        residual = residual - length * image
        going = inner_products(residual, residual).sqrt() > goal
        if not bool(going.any()):
            break
        ready = residual if diagonal is None else residual / diagonal
        before, strength = strength, torch.where(going, inner_products(residual, ready), 0)
        turned = ready + _ratios(strength, before, target) * direction
        direction = torch.where(expand_to(going, target), turned, 0)
    return solution


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products (B,) of tensors (B, ...)."""
    return (a * b).sum(tuple(range(1, a.ndim)))


def expand_to(values: Tensor, like: Tensor) -> Tensor:
    """Return values (B,) as (B, 1, ...), to be multiplied by a tensor (B, ...) of as many dimensions as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _ratios(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Return a / b as `expand_to` does, 0 where nothing is left to do."""
    return expand_to(torch.where(b > 0, a / b, 0), like)
