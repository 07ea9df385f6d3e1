"""Ridge regression of many small problems at once."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_regression(x: Tensor, y: Tensor, penalty: Tensor | float) -> Tensor:
    """Return the weights W (B, D, K) that minimise |x W - y|^2 + penalty |W|^2, without an intercept.

    The system has the smaller of S and D unknowns: W = (x' x + penalty I)^-1 x' y or, by Woodbury's identity,
    x' (x x' + penalty I)^-1 y (Bertinetto et al. 2019, section 3.2). It is formed and solved in float64, and can be
    differentiated, by the penalty too.

    Args:
        x: (B, S, D).
        y: (B, S, K).
        penalty: above 0; a number or a tensor ().
    """
    dual = x.shape[1] < x.shape[2]
    wide = x.double()
    gram = wide @ wide.mT if dual else wide.mT @ wide
    factor = torch.linalg.cholesky(gram + penalty * torch.eye(gram.shape[1]).to(gram))
    if dual:
        return x.mT @ torch.cholesky_solve(y.double(), factor).to(x.dtype)
    return torch.cholesky_solve((x.mT @ y).double(), factor).to(x.dtype)
