"""Convolution and batch normalisation whose second derivative is quick on a CPU.

PyTorch takes the second derivative of a convolution by its weight as a convolution with batch and channels
exchanged, for which there is no quick code, and that of batch normalisation in some dozen passes over the
activations. Here both are made of what their first derivative is made of. `benchmarks/README.md` has what it gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_aten = torch.ops.aten
_How = tuple[Sequence[int], Sequence[int], Sequence[int], bool, Sequence[int], int]
"""Stride, padding, dilation, False (transposed), its output padding, groups: as ``aten.convolution`` has them."""

_LEAST = 100_000
"""Numbers in an input from which on it pays: Python calls these functions, in one thread at a time."""


def quick_second_order(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which what is computed can be differentiated twice, and no more often, with less work.

    It does nothing but on a CPU; in half precision it is not for use.
    """
    if device.type != "cpu":
        return nullcontext()
    return _QuickSecondOrder()


class _QuickSecondOrder(TorchFunctionMode):
    """Puts the functions below in the place of PyTorch's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, or what stands in for it."""
        kwargs = kwargs or {}
        quick = None
        if func is torch.conv2d:
            quick = _conv(*args, **kwargs)
        elif func is nn.functional.batch_norm:
            quick = _norm(*args, **kwargs)
        elif func in (Tensor.contiguous, Tensor.to):  # batch norm goes backwards at half the speed with channels last
            kwargs = {name: value for name, value in kwargs.items() if name != "memory_format"}
        return func(*args, **kwargs) if quick is None else quick


def _conv(
    input: Tensor,  # the names are PyTorch's
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if isinstance(padding, str) or input.ndim != 4 or input.numel() < _LEAST:
        return None
    s, p, d = (value if isinstance(value, Sequence) else (value, value) for value in (stride, padding, dilation))
    output: Tensor = _Conv.apply(input, weight, bias, (s, p, d, False, (0, 0), groups))  # type: ignore[no-untyped-call]
    return output


def _norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if running_mean is not None or weight is None or bias is None or input.numel() < _LEAST:
        return None
    output: Tensor = _Norm.apply(input, weight, bias, eps)  # type: ignore[no-untyped-call]
    return output


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Any:
        ctx.save_for_backward(x, weight)
        ctx.how, ctx.bias = how, None if bias is None else list(bias.shape)
        return _aten.convolution(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        slopes = _ConvBackward.apply(slope, *ctx.saved_tensors, ctx.how, ctx.bias, ctx.needs_input_grad[:3])  # type: ignore[no-untyped-call]
        return (*slopes, None)


class _ConvBackward(torch.autograd.Function):
    """With * a convolution, out = x * w, and B_x(g, w), B_w(g, x) the derivatives of <g, out> by x and w.

    Both are linear in each argument and <a, B_x(g, w)> = <g, a * w>, so the second derivatives along (a_x, a_w, a_b)
    are a_x * w + x * a_w + a_b by g, B_x(g, a_w) by x, B_w(g, a_x) by w.
    """

    @staticmethod
    def forward(ctx: Any, slope: Tensor, x: Tensor, weight: Tensor, how: _How, bias: Any, mask: Any) -> Any:
        ctx.save_for_backward(slope, x, weight)
        ctx.set_materialize_grads(False)
        ctx.how = how
        return _aten.convolution_backward(slope, x, weight, bias, *how, [*mask[:2], mask[2] and bias is not None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along_x: Tensor | None, along_weight: Tensor | None, along_bias: Tensor | None) -> Any:
        slope, x, weight = ctx.saved_tensors
        by_slope = torch.zeros_like(slope) if along_x is None else _aten.convolution(along_x, weight, None, *ctx.how)
        by_x = by_weight = None
        if along_weight is not None:
            by_slope += _aten.convolution(x, along_weight, None, *ctx.how)
            if ctx.needs_input_grad[1]:
                by_x = _aten.convolution_backward(slope, x, along_weight, None, *ctx.how, [True, False, False])[0]
        if along_bias is not None:
            by_slope += along_bias.view(1, -1, 1, 1)
        if along_x is not None:
            by_weight = _aten.convolution_backward(slope, along_x, weight, None, *ctx.how, [False, True, False])[1]
        return by_slope, by_x, by_weight, None, None, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        output, mean, inverse = _aten.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        return output

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return (*_NormBackward.apply(slope, *ctx.saved_tensors), None)  # type: ignore[no-untyped-call]


class _NormBackward(torch.autograd.Function):
    """The derivatives of batch normalisation by its input, weight and bias.

    With n values of a channel, z = (x - mean) r the normalised ones, M the mean over them, and g the slope:
    by x it is w r (g - M(g) - z M(g z)), by the weight n M(g z), by the bias n M(g).
    """

    @staticmethod
    def forward(ctx: Any, slope: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor) -> Any:
        by_x, by_weight, by_bias = _norm_slopes(slope, x, weight, mean, inverse)
        ctx.save_for_backward(slope, x, weight, mean, inverse, by_weight, by_bias)
        return by_x, by_weight, by_bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along_x: Tensor, along_weight: Tensor, along_bias: Tensor) -> Any:
        """Differentiate <a, by x> + <a_w, by the weight> + <a_b, by the bias>, with a etc. held fixed.

        By g: w r (a - M(a) - z M(a z)) + a_w z + a_b.
        By x: A (a - M(a)) + B (g - M(g)) + C z, where A = -w r^2 M(g z), B = a_w r - w r^2 M(a z),
        C = -A M(a z) - B M(g z) - w r^2 c and c = M(a g) - M(a) M(g) - M(a z) M(g z).
        By w: n r c.
        """
        slope, x, weight, mean, inverse, sum_gz, sum_g = ctx.saved_tensors
        share = x.shape[1] / x.numel()  # 1 / n
        zero, one = torch.zeros_like(mean), torch.ones_like(mean)
        by_slope, sum_az, sum_a = _norm_slopes(along_x, x, weight, mean, inverse)
        # Their plain sum of products: that of a slope and its input where nothing is to be normalised.
        sum_ag = _aten.native_batch_norm_backward(
            along_x, slope, one, zero, one, None, None, False, 0.0, [False, True, False]
        )[1]
        nc = sum_ag.addcmul(sum_a, sum_g, value=-share).addcmul_(sum_az, sum_gz, value=-share)
        curve, turn = weight * inverse.square(), along_weight * inverse
        a = (curve * sum_gz).mul_(-share)
        b = turn.addcmul(curve, sum_az, value=-share)
        c = (curve * nc).addcmul_(a, sum_az).addcmul_(b, sum_gz).mul_(-share)
        by_x = _affine(along_x, a, zero, share * sum_a)
        by_x += _affine(slope, b, zero, share * sum_g)
        by_x += _affine(x, c * inverse, zero, mean)
        by_slope += _affine(x, turn, along_bias, mean)
        return by_slope, by_x, nc * inverse, None, None


def _norm_slopes(slope: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, ...]:
    slopes: tuple[Tensor, ...] = _aten.native_batch_norm_backward(
        slope, x, weight, None, None, mean, inverse, True, 0.0, [True, True, True]
    )
    return slopes


def _affine(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor) -> Tensor:
    """Return ``scale * (x - mean) + shift`` by channel, in the one pass that normalising by known statistics takes."""
    output: Tensor = _aten.native_batch_norm(x, scale, shift, mean, torch.ones_like(mean), False, 0.0, 0.0)[0]
    return output
