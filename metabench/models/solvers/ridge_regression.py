"""Ridge regression of many small problems at once."""

from __future__ import annotations

import torch
from torch import Tensor

_EXACT = 0.01
"""Share of the largest diagonal value of the inner products: they are taken in float64 for a penalty below it.
In float32 their errors are some 1e-6 of that value, and where items are nearly alike the weights would have a hundred
times as much."""


def ridge_regression(x: Tensor, y: Tensor, penalty: Tensor | float) -> Tensor:
    """Return the weights W (B, D, K) that minimise |x W - y|^2 + penalty |W|^2, without an intercept.

    The system has the smaller of S and D unknowns: W = (x' x + penalty I)^-1 x' y or, by Woodbury's identity,
    x' (x x' + penalty I)^-1 y (Bertinetto et al. 2019, section 3.2). It can be differentiated, by the penalty too.

    Args:
        x: (B, S, D).
        y: (B, S, K).
        penalty: above 0; a number or a tensor ().
    """
    dual, dtype = x.shape[1] < x.shape[2], x.dtype
    gram = _inner_products(x, dual)
    if bool((penalty < _EXACT * gram.diagonal(dim1=1, dim2=2)).any()):
        x = x.double()
        gram = _inner_products(x, dual)
    factor = torch.linalg.cholesky(gram + penalty * torch.eye(gram.shape[1]).to(gram))
    if dual:
        return (x.mT @ torch.cholesky_solve(y.to(x.dtype), factor)).to(dtype)
    return torch.cholesky_solve(x.mT @ y.to(x.dtype), factor).to(dtype)


def _inner_products(x: Tensor, dual: bool) -> Tensor:
    return x @ x.mT if dual else x.mT @ x
