"""torch as metabench expects it, whatever a caller has set: numbers depend on the run, not on who calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def standard_torch() -> Iterator[None]:
    """Run a block with torch's own defaults, and restore the caller's settings and random state after it.

    That is: float32 as the default dtype, the CPU as the default device, gradients on, no inference mode, no autocast,
    float32 products in full precision and no deterministic-only kernels. The number of threads is left as it is: it
    changes how the work is done, and a record says how many there were.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            stack.enter_context(_no_autocast(device))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(_standard_settings())
        yield


@contextmanager
def _no_autocast(device: str) -> Iterator[None]:
    """Turn autocast off; a block of `torch.autocast` would let inner ones keep converted weights until it ends."""
    before = torch.is_autocast_enabled(device)
    torch.set_autocast_enabled(device, False)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, before)


@contextmanager
def _standard_settings() -> Iterator[None]:
    """Set what has no context manager of its own."""
    dtype, precision = torch.get_default_dtype(), _matmul_precision()
    determinism = torch.get_deterministic_debug_mode()
    switches = [part for part in _precision_switches() if hasattr(part, "fp32_precision")]
    set_before = [part.fp32_precision for part in switches]
    with _default_device_cpu():
        torch.set_default_dtype(torch.float32)
        for part in switches:
            part.fp32_precision = "none"
        if precision:
            torch.set_float32_matmul_precision("highest")
        # not use_deterministic_algorithms, which imports torch's compiler: seconds at the start of every command
        torch.set_deterministic_debug_mode("default")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(determinism)
            if precision:
                torch.set_float32_matmul_precision(precision)
            for part, value in zip(switches, set_before, strict=True):
                part.fp32_precision = value
            torch.set_default_dtype(dtype)


def _matmul_precision() -> str:
    """Return the caller's precision of float32 products; '' where the newer switches have taken its place."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return ""


def _precision_switches() -> list[Any]:
    """Return what has a precision of float32 arithmetic on a CPU in torch 2.9 and later."""
    cpu = torch.backends.mkldnn
    return [torch.backends, cpu, *(getattr(cpu, name, None) for name in ("matmul", "conv", "rnn"))]


@contextmanager
def _default_device_cpu() -> Iterator[None]:
    """Make new tensors on the CPU; costs nothing where they are already, since a device mode slows every call."""
    if torch.empty(0).device.type == "cpu":
        yield
        return
    with torch.device("cpu"):
        yield
