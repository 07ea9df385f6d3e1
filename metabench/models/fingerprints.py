"""Digests of the weights of a model."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metabench.utils.hashing import content_key


def weights_digest(backbone: torch.nn.Module) -> str:
    """Return a digest of all tensors of a module, by name."""
    tensors = {name: value.cpu().numpy() for name, value in backbone.state_dict().items()}
    return content_key({name: [value.shape, _bytes_sha256(value)] for name, value in tensors.items()})


def _bytes_sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
