"""Features in files, and room for new ones."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metabench.data.array_cache import mapped_array
from metabench.models.embedding import shared_tensor
from metabench.runtime.memory import device_memory
from metabench.runtime.memory_budget import NO_LIMIT, MemoryBudget
from metabench.utils.atomic_files import replacing
from metabench.utils.file_digests import forget_digest, is_unchanged, write_digest


def room_for_features(
    shape: tuple[int, int], device: torch.device, folder: Path, memory: MemoryBudget = NO_LIMIT
) -> Tensor:
    """Return an uninitialised float32 tensor.

    It is in memory; on a CPU, where it is larger than a quarter of the free memory, in a file of `folder` that is
    deleted with the tensor.
    """
    used, available = device_memory(torch.device("cpu"))
    if device.type != "cpu" or 4 * 4 * shape[0] * shape[1] <= memory.limit(available) - used:
        return torch.empty(shape, device=device)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and death when the map is written
            os.posix_fallocate(file.fileno(), 0, 4 * shape[0] * shape[1])
        return shared_tensor(np.memmap(file, np.float32, "w+", shape=shape))


def load_features(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """Return cached features as a memory map, or None where the file is missing, damaged, or of another shape."""
    array = mapped_array(path)
    if array is None or array.shape != shape or array.dtype != np.float32 or not is_unchanged(path):
        return None
    return shared_tensor(array)


def save_features(path: Path, features: Tensor) -> None:
    """Write features and their digest, not durably: they may be large.

    Those that a power cut destroys, which may leave zeros for numbers, are computed again.
    """
    forget_digest(path)
    with replacing(path, durable=False) as temporary, temporary.open("wb") as stream:
        np.save(stream, features.cpu().numpy())
    write_digest(path)
