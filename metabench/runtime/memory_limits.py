"""Limits and peaks of memory, and the allocator that gives freed memory back."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path

from metabench.errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


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
    """Restart the measurement of `peak_memory_mb` from now, where the platform can."""
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
    """Return `peak_memory_mb` without files, such as libraries, which processes share."""
    return peak_memory_mb() - (_status_mb("RssFile") or 0.0)


def _status_mb(name: str) -> float | None:
    """Return an entry of Linux's status of this process, in MiB; None where there is none."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / (1 << 10), 1)
    return None


def parse_bytes(text: str) -> int:
    """Return the number of bytes for ``800MB``, ``4G`` or ``2000000`` (powers of 1024).

    Raises:
        UsageError: it means nothing, or nothing positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if size < 1:
        raise UsageError(f"--max-memory takes a size such as 4GB, not '{text}'")
    return size
