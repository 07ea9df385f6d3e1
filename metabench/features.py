"""Embedding images: each one once, in fixed batches, kept on disk by content key."""

from __future__ import annotations

import contextlib
import os
import tempfile
import tokenize
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.files import replacing
from metabench.memory import device_memory

if TYPE_CHECKING:
    from metabench.modules import Backbone

BATCH = {"cpu": 64, "cuda": 4096}
"""Images in one forward pass. Fixed by device type, so that features do not depend on anything else.

On a CPU the activations of a small batch stay in cache.
"""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return a data set's items as one uint8 tensor on `device`; on a CPU it is the array itself: do not change it.

    A memory map stays one: an item is read from the file when an episode needs it, and a set larger than memory works.
    """
    return _shared(images).to(device)


def _shared(array: NDArray[Any]) -> Tensor:
    """Return a tensor of the memory of an array, a read-only one too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


def normalise(images: Tensor) -> Tensor:
    """Return uint8 (N, H, W, C) as float32 (N, C, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def autocast(device: torch.device, precision: str, cache: bool = True) -> contextlib.AbstractContextManager[object]:
    """Return the context in which backbones run at `precision`; `cache` keeps converted weights within it."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision], cache_enabled=cache)


def embed(
    backbone: Backbone,
    images: Tensor,
    precision: str = "float32",
    progress: Callable[[int], None] = lambda done: None,
    out: Tensor | None = None,
) -> Tensor:
    """Return the float32 features (N, feature_dim) of a data set's items, uint8 (N, ...), a batch at a time.

    They are on the device of the items, or in `out`, on the device of which the backbone must be.
    """
    body = backbone.eval().for_inference()
    features = torch.empty(len(images), backbone.feature_dim, device=images.device) if out is None else out
    batch = BATCH.get(features.device.type, BATCH["cuda"])
    with torch.inference_mode(), autocast(features.device, precision):
        for start in range(0, len(images), batch):
            items = images[start : start + batch].to(features.device)
            features[start : start + batch] = body(backbone.inputs(items))
            progress(min(start + batch, len(images)))
    return features


def room_for_features(shape: tuple[int, int], device: torch.device, folder: Path, max_memory: int = 0) -> Tensor:
    """Return an uninitialised float32 tensor: in memory, or on a CPU, where a quarter of what is free is too small for
    it, in a file of `folder` that is gone with the tensor.

    Args:
        max_memory: bytes that the process may take; 0: what there is.
    """
    used, limit = device_memory(torch.device("cpu"))
    if device.type != "cpu" or 4 * 4 * shape[0] * shape[1] <= (max_memory or limit) - used:
        return torch.empty(shape, device=device)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and death when the map is written
            os.posix_fallocate(file.fileno(), 0, 4 * shape[0] * shape[1])
        return _shared(np.memmap(file, np.float32, "w+", shape=shape))


def load_features(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """Return cached features as a memory map, or None where there are none of this shape (absent or damaged)."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, MemoryError):
        return None  # what NumPy's header parser raises on damaged bytes
    return _shared(array) if array.shape == shape and array.dtype == np.float32 else None


def save_features(path: Path, features: Tensor) -> None:
    """Write features; they may be large, and what a power cut takes is made anew."""
    with replacing(path, durable=False) as temporary, temporary.open("wb") as stream:
        np.save(stream, features.cpu().numpy())
