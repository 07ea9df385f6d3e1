"""Measuring memory, reading sizes, and telling failures of the machine from failures of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metabench.errors import UsageError
from metabench.runtime.memory import MIB, machine_failed, peak_bytes, resident_bytes
from metabench.runtime.memory_limits import parse_bytes


def test_what_is_the_machines_fault() -> None:
    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("CUDA error: an illegal access")):
        assert machine_failed(error)
    assert not machine_failed(ValueError("CUDA"))


def test_live_tensors_are_counted_until_they_are_freed() -> None:
    def work() -> None:
        for _ in range(5):
            a = torch.zeros(1000, dtype=torch.float64)
            b = a + 1  # two at a time, and for a moment the next a beside the old two
            del a, b

    assert peak_bytes(work) == 16000


@pytest.mark.parametrize(("text", "size"), [("4GB", 4 << 30), ("1.5 g", 3 << 29), ("800MiB", 800 << 20), ("77", 77)])
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["much", "-1GB", "0", "4PB", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-memory takes a size such as 4GB, not"):
        parse_bytes(text)


def test_resident_memory_is_some() -> None:
    assert 10 * MIB < resident_bytes() < 1 << 40
    assert Path("/proc/self/statm").exists() or resident_bytes() > 0
