"""The first block of Conv-4 by the statistics of a batch, without passing over its feature map again and again.

At full resolution the map is the largest thing in the network, and convolution, batch norm, ReLU and pooling
each read and write it again, forwards and backwards: most of the time of a training step goes there, not into
arithmetic. Two identities remove it:

- Batch norm needs the mean and the variance of each output channel over the batch. A convolution is linear in
  its 3x3 patches p, so they are ``w . E[p]`` and ``w . Cov[p] w``, of moments of the images alone. With them batch norm
  folds into the weights, as it does at evaluation.
- What is left, relu(max_pool(conv)), is computed a few images at a time, so that it stays in cache, and once
  more in the backward pass instead of being kept. Where a stride stands for pooling, the map is small enough as it is.

The result is that of the plain block up to rounding. It is differentiable twice, and not with respect to the images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from metabench.api import TaskNorm

_PIXELS = 32 * 28 * 28
"""Pixels at once: with 64 channels about what the caches of one core hold."""


_LEAST = 200_000
"""Numbers in a map from which on it pays: the folding is some dozens of operations on little."""


def first_block(images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d | TaskNorm) -> Tensor:
    """Return relu(max_pool(norm(conv(images)))) by the statistics of `images` and update what `norm` keeps of them.

    There is no pooling where the convolution has a stride.

    Args:
        images: (N, C, H, W), needing no gradient.
        conv: 3x3, padding 1, stride 1 or 2. Its bias has no effect under batch norm and gets no gradient, in
            an algorithm that adapts one of zeros.
        norm: a layer in training mode, or one that keeps nothing (`TaskNorm.of_pass`).

    Returns:
        (N, channels, H / 2, W / 2), rounded as the layers round, of the type that autocast asks for where it is on.
    """
    if torch.is_autocast_enabled("cpu"):
        images = images.to(torch.get_autocast_dtype("cpu"))
    stride = conv.stride[0]
    with torch.autocast("cpu", enabled=False):  # in half precision a variance could come out below zero
        mean, covariance, count = _patch_moments(images, stride)
    weight = conv.weight.flatten(1).double()
    channel_mean, channel_variance = weight @ mean, (weight @ covariance * weight).sum(1).clamp_min(0)
    if isinstance(norm, nn.BatchNorm2d):
        _update_running(norm, channel_mean.detach(), conv.bias, channel_variance.detach() * (count / (count - 1)))
    scale = norm.weight * torch.rsqrt(channel_variance + norm.eps)
    folded = (weight * scale[:, None]).view_as(conv.weight).to(images.dtype)
    shift = norm.bias - channel_mean * scale
    if isinstance(norm, TaskNorm):  # an inner loop asks for the gradient of every parameter
        assert conv.bias is not None
        shift = shift + 0 * conv.bias
    shift = shift.to(images.dtype)
    if stride > 1:
        return _conv(images, folded, shift, stride).relu_()
    if len(_chunks(images)) == 1:
        return pooled(images, folded, shift)
    return _PooledConv.apply(images, folded, shift)  # type: ignore[no-any-return, no-untyped-call]


def takes_short_way(images: Tensor, conv: nn.Conv2d, norm: nn.Module) -> bool:
    """Return whether `first_block` does what these layers do, and sooner: on a CPU, and where the map is large."""
    stride = conv.stride[0]
    numbers = images.shape[0] * (images.shape[2] // stride) * (images.shape[3] // stride) * conv.out_channels
    if images.is_cuda or numbers < _LEAST:
        return False
    return norm.of_pass(len(images)) if isinstance(norm, TaskNorm) else isinstance(norm, nn.BatchNorm2d)


def _patch_moments(images: Tensor, stride: int) -> tuple[Tensor, Tensor, int]:
    """Return mean (P,) and covariance (P, P), float64, of all 3x3 patches, P = 9 C, and their number."""
    size = 9 * images.shape[1]
    total = images.new_zeros(size, dtype=torch.float64)
    products = images.new_zeros(size, size, dtype=torch.float64)
    count = 0
    for part in _chunks(images):
        patches = F.unfold(part.to(_exact(images)).contiguous(), 3, padding=1, stride=stride)  # (n, P, places)
        count += patches.shape[0] * patches.shape[2]
        total += patches.sum((0, 2))
        products += torch.bmm(patches, patches.transpose(1, 2)).sum(0)
    mean = total / count
    return mean, products / count - torch.outer(mean, mean), count


@torch.no_grad()
def _update_running(norm: nn.BatchNorm2d, mean: Tensor, bias: Tensor | None, variance: Tensor) -> None:
    """Do what `torch.nn.BatchNorm2d` does to its buffers in training."""
    assert bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean.to(bias.dtype) + bias, norm.momentum)
    norm.running_var.lerp_(variance.to(bias.dtype), norm.momentum)


class _PooledConv(torch.autograd.Function):
    """relu(max_pool2d(conv2d(images, weight, bias, padding=1), 2)), chunk by chunk, recomputed in backward."""

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.cat([pooled(part, weight, bias) for part in _chunks(images)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, *_Slopes.apply(gradient, *ctx.saved_tensors)  # type: ignore[no-untyped-call]


class _Slopes(torch.autograd.Function):
    """The derivatives of `_PooledConv` by weight and bias, given that by its result.

    They are linear in the latter, and constant in weight and bias as long as those select the same places. So their
    derivative along (a, b) is the convolution by a, plus b, at the places selected.
    """

    @staticmethod
    def forward(gradient: Tensor, images: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = (tensor.detach().requires_grad_() for tensor in (weight, bias))
        totals = [torch.zeros_like(value, dtype=_exact(weight)) for value in (weight, bias)]
        parts = _chunks(images)
        for part, upstream in zip(parts, torch.split(gradient, len(parts[0])), strict=True):
            with torch.enable_grad():
                features = pooled(part, weight, bias)
            for total, value in zip(totals, torch.autograd.grad(features, (weight, bias), upstream), strict=True):
                total += value
        return totals[0].to(weight.dtype), totals[1].to(bias.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along_weight: Tensor, along_bias: Tensor) -> Any:
        images, weight, bias = ctx.saved_tensors
        chunks = (_at_places(part, weight, bias, along_weight, along_bias) for part in _chunks(images))
        return torch.cat(list(chunks)), None, None, None


def _at_places(images: Tensor, weight: Tensor, bias: Tensor, other_weight: Tensor, other_bias: Tensor) -> Tensor:
    """Return the convolution by the other weight and bias where that by `weight` and `bias` is largest."""
    largest, places = F.max_pool2d(_conv(images, weight, bias), 2, return_indices=True)
    other = _conv(images, other_weight, other_bias).permute(0, 2, 3, 1).flatten(1, 2)
    rows = places.permute(0, 2, 3, 1)
    values = other.gather(1, rows.flatten(1, 2)).view(rows.shape).permute(0, 3, 1, 2)
    return values.mul_(largest > 0)


def _exact(values: Tensor) -> torch.dtype:
    """Return the type to add such values up in: at least float32."""
    return torch.promote_types(values.dtype, torch.float32)


def _chunks(images: Tensor) -> tuple[Tensor, ...]:
    """Return views of (N, C, H, W) that are small enough to stay in cache."""
    return torch.split(images, max(1, _PIXELS // (images.shape[2] * images.shape[3])))


def pooled(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return relu(max_pool2d(conv2d(images, weight, bias, padding=1), 2)), channels last in memory."""
    return F.max_pool2d(_conv(images, weight, bias), 2).relu_()


def convolved(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return relu(conv2d(images, weight, bias, padding=1)), channels last in memory."""
    return _conv(images, weight, bias).relu_()


def _conv(images: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    # `contiguous` would leave a tensor of one channel as it is, and the map would not be channels last.
    return F.conv2d(images, weight.to(memory_format=torch.channels_last), bias, stride, padding=1)
