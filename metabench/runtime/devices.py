"""Choice of the device, and what it can compute."""

from __future__ import annotations

import re
from typing import Any

from metabench.errors import MissingError, UsageError


def check_device_name(name: str) -> None:
    """Raise UsageError for any word but ``auto``, ``cpu``, ``cuda`` and ``cuda:N``; loads no torch."""
    if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", name):
        raise UsageError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N")


def choose_device(name: str) -> Any:
    """Return the torch.device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: for any other word. MissingError: for a GPU that is not there.
    """
    import torch

    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise MissingError("cannot use CUDA: torch sees no CUDA device. Use --device cpu or auto.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise MissingError(
            f"device {name} not found: torch sees {torch.cuda.device_count()} CUDA device(s). Choose another --device."
        )
    return torch.device(name)


def emulates(device: Any, precision: str) -> bool:
    """Return whether a device only emulates a precision: convolutions in bfloat16 then take 25 times as long (AVX2)."""
    import torch

    if device.type != "cpu" or precision != "bfloat16":
        return False
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not (there and torch.ops.mkldnn._is_mkldnn_bf16_supported())
