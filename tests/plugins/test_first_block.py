"""The short way through the first block gives what the plain block gives: output, gradients, statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metabench.models.task_norm import forward_pass, replace_norms
from metabench_backbones._first_block import first_block
from metabench_backbones.conv4 import Conv4
from metabench_backbones.conv4_strided import Conv4Strided, Conv4StridedFlat


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
    errors = torch.zeros(2, 2)  # of features and gradient, by the plain block and the short way
    for seed in range(5):
        images = torch.rand(40, 1, side, side, generator=torch.Generator().manual_seed(seed))
        exact, plain, short = (in_half(images, *way) for way in ((False, False), (True, False), (True, True)))
        assert short[0].dtype == torch.bfloat16
        for row, values in zip(errors, zip(exact, plain, short, strict=True), strict=True):
            right, *rough = (value.float() for value in values)
            row += torch.stack([(value - right).norm() / right.norm() for value in rough])
    assert bool((errors[:, 1] > 0).all())
    assert bool((errors[:, 1] < 1.25 * errors[:, 0]).all())


@pytest.mark.parametrize("number", [20, 70])  # in one piece and in several
@pytest.mark.parametrize("kind", [Conv4, Conv4Strided, Conv4StridedFlat])
def test_the_short_way_is_the_same_function_to_second_order(kind: type[Conv4], number: int) -> None:
    torch.manual_seed(0)
    images, found = torch.rand(number, 3, 29, 29).double(), []
    for short in (False, True):
        torch.manual_seed(1)
        body = kind((3, 29, 29), channels=64).double()
        replace_norms(body, "transductive", 1, "")
        weights = [value for name, value in body.named_parameters() if "conv.bias" not in name and "0.bias" not in name]
        features = (body.for_adapting() if short else body)(images)
        slopes = torch.autograd.grad(loss(features.square()), weights, create_graph=True)
        total = torch.stack([slope.square().sum() for slope in slopes]).sum()
        found.append((features, slopes, torch.autograd.grad(total, weights)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("mode", "support", "short"),
    [("transductive", 0, True), ("support", 0, True), ("support", 9, False), ("running", 0, False)],
)
def test_the_short_way_is_taken_where_nothing_but_the_pass_counts(
    mode: str, support: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("metabench_backbones.conv4.first_block", lambda *given: calls.append(1) or first_block(*given))
    body = conv4().train()
    replace_norms(body, mode, 1, "")
    images = torch.rand(40, 1, 28, 28)
    with forward_pass(support=support):
        found, wanted = body.for_adapting()(images), body(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert bool(calls) == short


def test_statistics_are_exact_in_half_precision_too() -> None:
    """A filter that is all but blind to its images: its variance is small beside their squares."""
    conv, norm = nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1).train()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -2.0, 1.0])[None, :, None, None] / 3)
    grey = torch.rand(8, 1, 32, 32)
    images = (grey + 0.01 * torch.rand(8, 3, 32, 32)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        first_block(images, conv, norm)
    patches = nn.functional.unfold(images.double(), 3, padding=1)
    variance = torch.einsum("npl,p->nl", patches, conv.weight.detach().double().flatten()).var()
    torch.testing.assert_close(float(norm.running_var), 0.9 + 0.1 * float(variance), rtol=1e-5, atol=0)
    assert float(variance) < 1e-4
