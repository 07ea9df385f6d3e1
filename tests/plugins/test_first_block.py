"""The short way through the first block gives what the plain block gives: output, gradients, statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metabench_backbones._first_block import first_block
from metabench_backbones.conv4 import Conv4


def conv4(channels_in: int = 1, side: int = 28) -> Conv4:
    torch.manual_seed(0)
    body = Conv4((channels_in, side, side), channels=8)
    for block in body.blocks:
        nn.init.normal_(block.norm.weight)  # of either sign
        nn.init.normal_(block.norm.bias)
    return body.train()


def loss(features: Tensor) -> Tensor:
    return (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum()


@pytest.mark.parametrize(("channels", "side", "number"), [(1, 28, 70), (3, 33, 5), (1, 17, 32)])
def test_training_the_short_way_is_the_same_function(channels: int, side: int, number: int) -> None:
    plain, short = (conv4(channels, side).double() for _ in range(2))
    images = (torch.rand(number, channels, side, side) * (torch.rand(number, 1, side, side) > 0.8)).double()
    results = []
    for body, forward in ((plain, plain), (short, short.for_training())):
        features = forward(images)
        loss(features).backward()
        gradients = {name: value.grad for name, value in body.named_parameters() if "conv.bias" not in name}
        results.append((features, gradients, dict(body.named_buffers())))
    torch.testing.assert_close(results[1][0], results[0][0])
    for name, value in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], value)
    for name, value in results[0][2].items():
        torch.testing.assert_close(results[1][2][name], value)


def test_the_channels_stay_last_in_memory() -> None:
    body = conv4()
    block = body.blocks[0]
    assert first_block(torch.rand(3, 1, 28, 28), block.conv, block.norm).stride()[1] == 1


def in_half(images: Tensor, half: bool, short: bool) -> tuple[Tensor, Tensor]:
    """Return features and the gradient of all weights, in half precision or not, the short way or not."""
    body = conv4(side=images.shape[-1])
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        features = (body.for_training() if short else body)(images)
    loss(features.float()).backward()
    found = [value.grad for name, value in body.named_parameters() if "conv.bias" not in name]
    return features.detach(), torch.cat([value.flatten() for value in found if value is not None])


@pytest.mark.parametrize("side", [28, 84])
def test_half_precision_is_as_near_as_that_of_the_plain_block(side: int) -> None:
    images = torch.rand(40, 1, side, side)
    exact, plain, short = (in_half(images, *way) for way in ((False, False), (True, False), (True, True)))
    assert short[0].dtype == torch.bfloat16
    for values in zip(exact, plain, short, strict=True):
        right, *rough = (value.float() for value in values)
        errors = [float((value - right).norm() / right.norm()) for value in rough]
        assert 0 < errors[1] < 1.5 * errors[0]


def test_a_second_derivative_is_refused_not_wrong() -> None:
    body = conv4()
    (gradient, *_) = torch.autograd.grad(
        loss(body.for_training()(torch.rand(4, 1, 28, 28))), body.blocks[0].conv.weight, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()
