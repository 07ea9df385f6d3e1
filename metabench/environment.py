"""The machine: device choice, allocator, memory, and the provenance that goes into a record."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from metabench.errors import MissingError, UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


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
        raise MissingError("no CUDA device is available to torch; use --device cpu (or auto)")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise MissingError(f"there is no {name}: torch sees {torch.cuda.device_count()} CUDA device(s)")
    return torch.device(name)


def emulates(device: Any, precision: str) -> bool:
    """Whether a processor only emulates a precision: convolutions in bfloat16 then take 25 times as long (AVX2)."""
    import torch

    if device.type != "cpu" or precision != "bfloat16":
        return False
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not (there and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def keep_freed_memory() -> None:
    """Ask glibc to reuse freed memory instead of returning it to the system at every `free`.

    Training frees and allocates the same tens of megabytes in each step; mapping them anew costs a page
    fault for every 4 KiB, about a quarter of the time of a Conv-4 training step on a CPU. Does nothing without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 1 << 30)


def return_freed_memory() -> None:
    """Give memory that is free, and kept for reuse, back to the system now. Does nothing without glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak_memory() -> None:
    """Let `peak_memory_mb` speak of what comes from now on, where the platform can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MiB (0 where the platform does not tell)."""
    if (peak := _status_mb("VmHWM")) is not None:  # what `resource` tells can be that of who started the process
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def own_peak_memory_mb() -> float:
    """Return `peak_memory_mb` but for files, such as libraries, which processes share."""
    return peak_memory_mb() - (_status_mb("RssFile") or 0.0)


def _status_mb(name: str) -> float | None:
    """Return what Linux says of this process, in MiB; None where it does not."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / (1 << 10), 1)
    return None


def parse_bytes(text: str) -> int:
    """Return the bytes that ``800MB``, ``4G`` or ``2000000`` mean (powers of 1024).

    Raises:
        UsageError: it means nothing, or nothing positive.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise UsageError(f"--max-memory takes a size such as 4GB, not '{text}'")
    return size


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git_revision() -> str:
    """Return the commit of the source tree this runs from, '' where it is no checkout, '+' for changes."""
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def provenance(device: Any) -> dict[str, Any]:
    """Return versions, hardware and time; never part of a run key."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "metabench": metadata.version("metabench"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "device": gpu or device.type,
        "git": _git_revision(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
