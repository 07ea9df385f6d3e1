"""The gradient of logistic regression; tests/plugins/test_linear_probe.py tests its solution."""

from __future__ import annotations

import pytest
import torch

from metabench.api import logistic_regression


@pytest.mark.parametrize(("way", "shot", "dim", "c"), [(3, 2, 4, 2.0), (2, 3, 7, 0.1), (4, 2, 3, 30.0)])
def test_the_gradient_is_that_of_the_optimum(way: int, shot: int, dim: int, c: float) -> None:
    generator = torch.Generator().manual_seed(dim)
    support = torch.randn(2, way * shot, dim, generator=generator, dtype=torch.float64) + 3
    labels = torch.arange(way).repeat_interleave(shot).expand(2, -1)
    support.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: logistic_regression(x, labels, way, c), support)


def test_the_gradient_of_single_precision_is_near() -> None:
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(2, 10, 30, generator=generator)
    labels = (torch.arange(10) % 5).expand(2, -1)
    slopes = []
    for x in (support, support.double()):
        x = x.clone().requires_grad_()
        weights, intercept = logistic_regression(x, labels, 5, 1.0)
        (weights.square().sum() + intercept[..., 0].sum()).backward()
        assert x.grad is not None and x.grad.dtype == x.dtype
        slopes.append(x.grad.double())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-6)
