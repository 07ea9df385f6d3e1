"""The machine: which device, and what a record says about where it was made."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import torch

from metabench.errors import MissingError, UsageError
from metabench.runtime.devices import check_device_name, choose_device
from metabench.runtime.memory_limits import forget_peak_memory, keep_freed_memory, peak_memory_mb, return_freed_memory
from metabench.runtime.provenance import run_provenance


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cuda:0 ", "mps"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_device(name)
    assert str(caught.value) == f"unknown device '{name}'; use auto, cpu, cuda or cuda:N"


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_name_is_checked_without_looking_for_it(name: str) -> None:
    check_device_name(name)


def pretend(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_devices_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(
            MissingError, match=r"cannot use CUDA: torch sees no CUDA device\. Use --device cpu or auto\."
        ):
            choose_device(name)


def test_devices_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 2)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(
        MissingError, match=r"device cuda:2 not found: torch sees 2 CUDA device\(s\)\. Choose another --device\."
    ):
        choose_device("cuda:2")


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, metabench.runtime.devices as e; e.check_device_name('cuda:0'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_provenance() -> None:
    found = run_provenance(torch.device("cpu"))
    assert found["torch"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    finished = datetime.fromisoformat(found["finished"])
    assert abs(datetime.now(UTC) - finished) < timedelta(minutes=5)
    assert re.fullmatch(r"([0-9a-f]{7,40}\+?)?", found["git"])


def test_provenance_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr("metabench.runtime.provenance.subprocess.run", absent)
    assert run_provenance(torch.device("cpu"))["git"] == ""


def test_memory_is_plausible_and_the_allocator_goes_on() -> None:
    keep_freed_memory()
    torch.ones(1 << 22).sum()  # 16 MiB through the allocator
    assert 10 < peak_memory_mb() < 1 << 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
def test_the_peak_of_memory_is_of_what_came_since_it_was_forgotten() -> None:
    code = (
        "from metabench.runtime.memory_limits import *\n"
        "from metabench.runtime.memory import resident_bytes\n"
        "import torch\n"
        "keep_freed_memory()\n"
        "torch.ones(100 << 18)\n"  # 100 MiB
        "print(peak_memory_mb(), resident_bytes() >> 20)\n"
        "return_freed_memory()\n"
        "forget_peak_memory()\n"
        "print(peak_memory_mb(), resident_bytes() >> 20)\n"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    (peak, now), (after, left) = ([float(word) for word in line.split()] for line in lines)
    assert peak >= 100 and peak - after > 90
    assert now - left > 90
    assert after < left + 20


def test_freed_memory_is_returned_only_where_the_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1"))
    return_freed_memory()
    forget_peak_memory()
