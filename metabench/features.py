"""Embedding images: each one once, in fixed batches, kept on disk by content key."""

from __future__ import annotations

import contextlib
import os
import tempfile
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from metabench.modules import Backbone

BATCH = {"cpu": 64, "cuda": 4096}
"""Images in one forward pass. Fixed by device type, so that features do not depend on anything else.

On a CPU the activations of a small batch stay in cache.
"""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return the images (N, H, W, C) as one uint8 tensor on `device`."""
    return torch.from_numpy(np.array(images)).to(device)


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
) -> Tensor:
    """Return the float32 features (N, feature_dim) of a data set's items, uint8 (N, ...), on their device."""
    body = backbone.eval().for_inference()
    batch = BATCH.get(images.device.type, BATCH["cuda"])
    features = torch.empty(len(images), backbone.feature_dim, device=images.device)
    with torch.inference_mode(), autocast(images.device, precision):
        for start in range(0, len(images), batch):
            features[start : start + batch] = body(backbone.inputs(images[start : start + batch]))
            progress(min(start + batch, len(images)))
    return features


def load_features(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """Return cached features, or None where there are none of this shape (absent or damaged)."""
    try:
        with path.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, MemoryError):
        return None  # what NumPy's header parser raises on damaged bytes
    return torch.from_numpy(array) if array.shape == shape and array.dtype == np.float32 else None


def save_features(path: Path, features: Tensor) -> None:
    """Write features atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, features.cpu().numpy())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
