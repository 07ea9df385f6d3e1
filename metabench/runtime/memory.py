"""Memory in use, and the peak of a piece of work, measured on its tensors before the work is repeated."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from metabench.runtime.memory_limits import peak_memory_mb, return_freed_memory

MIB = 1 << 20


def resident_bytes() -> int:
    """Return the resident memory of this process (its peak, where the platform does not tell the present)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return int(peak_memory_mb() * MIB)
    import resource

    return int(pages * resource.getpagesize())


def device_memory(device: torch.device) -> tuple[int, int]:
    """Return (bytes in use, bytes that may be in use): of this process, or of the tensors on a GPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        used, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        return used, int(0.9 * (reserved + free))
    return_freed_memory()
    used = resident_bytes()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        return used, 1 << 62
    return used, used + available


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def machine_failed(error: BaseException) -> bool:
    """Return whether the machine caused an error: out of memory, a killed process, a failed GPU."""
    return out_of_memory(error) or isinstance(error, BrokenProcessPool) or "CUDA error" in str(error)


def peak_bytes(work: Callable[[], Any]) -> int:
    """Return the most bytes of tensors that `work` made and that lived at one time."""
    with _LiveTensors() as live:
        work()
    return int(live.peak)


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations create until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in pytree.tree_leaves(result):
            if isinstance(value, Tensor):
                self._follow(value.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def freed(_: object) -> None:
            del self._alive[key]
            self.now -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)
