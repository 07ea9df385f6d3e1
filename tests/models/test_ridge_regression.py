"""Ridge regression against scikit-learn and its own definition."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from metabench.api import ridge_regression

SHAPES = [(4, 9), (9, 4), (5, 5), (25, 640)]
"""Rows and features: fewer of either, as many, and those of an episode."""


def problems(rows: int, features: int, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn(batch, rows, features, generator=generator) + 1, torch.randn(batch, rows, 3, generator=generator)


@pytest.mark.parametrize("penalty", [0.01, 50.0])
@pytest.mark.parametrize(("rows", "features"), SHAPES)
def test_weights_are_those_of_scikit_learn(rows: int, features: int, penalty: float) -> None:
    x, y = problems(rows, features)
    weights = ridge_regression(x, y, penalty)
    assert weights.shape == (3, features, 3) and weights.dtype == torch.float32
    for b in range(3):
        model = Ridge(alpha=penalty, fit_intercept=False).fit(x[b].double().numpy(), y[b].double().numpy())
        torch.testing.assert_close(weights[b].double(), torch.from_numpy(model.coef_.T), rtol=1e-4, atol=1e-5)


def test_long_features_lose_no_digits() -> None:
    """Of float32 squares of 1e8 the penalty would be lost."""
    x, y = problems(6, 40)
    x = 1e4 * x
    exact = torch.linalg.solve(x.double() @ x.double().mT + torch.eye(6), y.double())
    torch.testing.assert_close(ridge_regression(x, y, 1.0), (x.double().mT @ exact).float())


@pytest.mark.parametrize(("rows", "features"), [(25, 40), (40, 25)])
def test_features_of_unlike_sizes_lose_no_digits(rows: int, features: int) -> None:
    """Of the weights of small features a sum over the items in float32 leaves little."""
    x, y = problems(rows, features)
    x = x * 10.0 ** (torch.arange(features) % 7 - 3)
    long = x.double()
    exact = torch.linalg.solve(long.mT @ long + 50 * torch.eye(features), long.mT @ y.double())
    scores = long @ ridge_regression(x, y, 50.0).double()
    torch.testing.assert_close(scores, long @ exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "features"), [(3, 5), (5, 3)])
def test_it_can_be_differentiated_by_everything(rows: int, features: int) -> None:
    x, y = (part.double().requires_grad_() for part in problems(rows, features, batch=2))
    penalty = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ridge_regression, (x, y, penalty))
