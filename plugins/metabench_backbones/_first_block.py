"""The first block of Conv-4 in training, without ever holding its feature map at full resolution.

At full resolution the map is the largest thing in the network, and convolution, batch norm, ReLU and pooling
each read and write it again, forwards and backwards: most of the time of a training step goes there, not into
arithmetic. Two identities remove it:

- Batch norm needs the mean and the variance of each output channel over the batch. A convolution is linear in
  its 3x3 patches p, so they are ``w . E[p]`` and ``w . Cov[p] w``, of moments of the images alone. With them batch norm
  folds into the weights, as it does at evaluation.
- What is left, relu(max_pool(conv)), is computed a few images at a time, so that it stays in cache, and once
  more in the backward pass instead of being kept.

The result is that of the plain block up to rounding. It is differentiable once, and not with respect to the images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_PIXELS = 32 * 28 * 28
"""Pixels at once: with 64 channels about what the caches of one core hold."""


def first_block(images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return relu(max_pool(norm(conv(images)))) in training mode and update the running statistics of `norm`.

    Args:
        images: (N, C, H, W), needing no gradient.
        conv: 3x3, padding 1. Its bias has no effect under batch norm and gets no gradient.

    Returns:
        (N, channels, H // 2, W // 2), of the type that autocast asks for where it is on.
    """
    if torch.is_autocast_enabled("cpu"):
        images = images.to(torch.get_autocast_dtype("cpu"))
    mean, covariance, count = _patch_moments(images)
    weight = conv.weight.flatten(1).double()
    channel_mean, channel_variance = weight @ mean, (weight @ covariance * weight).sum(1)
    _update_running(norm, channel_mean.detach(), conv.bias, channel_variance.detach() * (count / (count - 1)))
    scale = norm.weight * torch.rsqrt(channel_variance + norm.eps)
    folded = (weight * scale[:, None]).view_as(conv.weight).to(images.dtype)
    shift = (norm.bias - channel_mean * scale).to(images.dtype)
    return _PooledConv.apply(images, folded, shift)  # type: ignore[no-any-return, no-untyped-call]


def _patch_moments(images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return mean (P,) and covariance (P, P), float64, of all 3x3 patches, P = 9 C, and their number."""
    size = 9 * images.shape[1]
    total = images.new_zeros(size, dtype=torch.float64)
    products = images.new_zeros(size, size, dtype=torch.float64)
    for part in _chunks(images):
        patches = F.unfold(part.to(_exact(images)).contiguous(), 3, padding=1)  # (n, P, places)
        total += patches.sum((0, 2))
        products += torch.bmm(patches, patches.transpose(1, 2)).sum(0)
    count = images.shape[0] * images.shape[2] * images.shape[3]
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
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight, bias)
        return torch.cat([pooled(part, weight, bias) for part in _chunks(images)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        images, *saved = ctx.saved_tensors
        weight, bias = (tensor.detach().requires_grad_() for tensor in saved)
        totals = [torch.zeros_like(value, dtype=_exact(weight)) for value in (weight, bias)]
        parts = _chunks(images)
        for part, upstream in zip(parts, torch.split(gradient, len(parts[0])), strict=True):
            with torch.enable_grad():
                features = pooled(part, weight, bias)
            for total, value in zip(totals, torch.autograd.grad(features, (weight, bias), upstream), strict=True):
                total += value
        return None, totals[0].to(weight.dtype), totals[1].to(bias.dtype)


def _exact(values: Tensor) -> torch.dtype:
    """Return the type to add such values up in: at least float32."""
    return torch.promote_types(values.dtype, torch.float32)


def _chunks(images: Tensor) -> tuple[Tensor, ...]:
    """Return views of (N, C, H, W) that are small enough to stay in cache."""
    return torch.split(images, max(1, _PIXELS // (images.shape[2] * images.shape[3])))


def pooled(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return relu(max_pool2d(conv2d(images, weight, bias, padding=1), 2)), channels last in memory."""
    # `contiguous` would leave a tensor of one channel as it is, and the map would not be channels last.
    weight = weight.to(memory_format=torch.channels_last)
    return F.max_pool2d(F.conv2d(images, weight, bias, padding=1), 2).relu_()
