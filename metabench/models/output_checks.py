"""Checks of what plugins return, the same ones in `metabench run` and `metabench check`.

Broadcasting, reshaping and implicit casts turn an output of the wrong shape or type into a plausible number. So every
output is compared with what the interface promises before anything is computed from it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metabench.errors import MetabenchError

LARGEST = 1e18
"""Features beyond this have squares that float32 cannot hold: distances would be infinite."""
SMALLEST = 1e-18
"""Features all below this, but not all zero, have squares that float32 rounds to zero: distances would all tie."""


_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class OutputError(MetabenchError):
    """Error for a plugin that returned something its interface does not allow."""


class NotFiniteError(OutputError):
    """Error for a plugin that returned nan or infinite numbers."""


def require_tensor(
    value: Any,
    shape: tuple[int, ...],
    owner: str,
    device: torch.device | None = None,
    dtypes: tuple[torch.dtype, ...] = (),
) -> Tensor:
    """Return `value` if it is a floating-point tensor of this shape; on `device` and of one of `dtypes` where given.

    Args:
        owner: the plugin and its method, for the message: ``backbone 'conv4'``.

    Raises:
        OutputError: anything else, naming what was returned and what was expected.
    """
    expected = f"expected {shape}" if shape else "expected a scalar"
    if not isinstance(value, Tensor):
        raise OutputError(f"{owner} returned a {type(value).__name__}, {expected} as a torch tensor")
    if tuple(value.shape) != shape:
        raise OutputError(f"{owner} returned {tuple(value.shape)}, {expected}")
    if value.layout != torch.strided or value.is_nested or value.is_quantized:
        raise OutputError(f"{owner} returned a tensor of layout {value.layout}, expected a dense one")
    if value.dtype not in (dtypes or _FLOATS):
        wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes) or "floating point"
        raise OutputError(f"{owner} returned {str(value.dtype).removeprefix('torch.')} numbers, expected {wanted}")
    if device is not None and value.device != device:
        raise OutputError(f"{owner} returned a tensor on {value.device}, expected {device}")
    return value


def require_finite(value: Tensor, owner: str, first: int = 0, unit: str = "item") -> None:
    """Raise NotFiniteError where a number is infinite or nan, naming the first row of `value` that has one.

    Args:
        value: (N, ...).
        first: the index of the first row.
        unit: what a row is.
    """
    if bool(value.detach().sum().isfinite()):  # the quickest pass; finite numbers whose sum overflows are looked at
        return
    bad = (~value.isfinite()).reshape(len(value), -1).any(1)
    if not bool(bad.any()):
        return
    index = first + int(bad.to(torch.uint8).argmax())
    raise NotFiniteError(f"{owner} returned numbers that are not finite (nan or infinite), first for {unit} {index}")


def require_range(low: float, high: float, owner: str) -> None:
    """Raise OutputError where features between `low` and `high` are too large or too small for float32 distances."""
    largest = max(abs(low), abs(high))
    if largest > LARGEST or 0 < largest < SMALLEST:
        size = "large" if largest > LARGEST else "small"
        raise OutputError(
            f"{owner} returned features that are too {size} for float32 distances (largest {largest:.0e}). "
            f"Scale them to between {SMALLEST:.0e} and {LARGEST:.0e}"
        )


def score_gap(a: Tensor, b: Tensor) -> float:
    """Return the largest difference of two scores (B, Q, way), as a share of the spread between classes.

    What is added to all classes of a query does not count: it changes no prediction. Of numbers (B, Q, 1) it is a share
    of the largest.
    """
    if a.shape[-1] > 1:
        a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    spread = float(torch.maximum(a.abs().amax(), b.abs().amax()))
    return float((a - b).abs().amax()) / spread if spread else 0.0
