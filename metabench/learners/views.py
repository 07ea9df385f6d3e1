"""Augmented copies of images whose features a head gets beside those of the images (``uses=("views",)``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.learners.augmentation import augmented_by
from metabench.models.embedding import shared_tensor
from metabench.utils.hashing import content_key

VIEWS = 5
"""Copies of each image (Tian et al. 2020, the authors' eval_fewshot.py)."""
AUGMENT = "crop-flip-jitter"
_AT_ONCE = 4096
"""Images that one generator augments; fixed, so that the copies of an image depend on nothing else."""


def with_views(
    images: NDArray[np.uint8], name: Any, views: int, embed: Callable[[NDArray[np.uint8], str], Tensor]
) -> Tensor:
    """Return features (N, (1 + views) D): of each image, and behind them of its augmented copies.

    Args:
        images: uint8 (N, H, W, C).
        name: any JSON value that names the images.
        views: number of copies.
        embed: returns the features (N, D) of images, of which it gets a name too: '' for the images as they are.
    """
    copies = [embed(_augmented(images, [name, view]), f"{AUGMENT} {view}") for view in range(views)]
    return torch.cat([embed(images, ""), *copies], dim=1)


def _augmented(images: NDArray[np.uint8], name: Any) -> NDArray[np.uint8]:
    """Return an augmented copy of every image; equal names give equal copies."""
    generator = torch.Generator().manual_seed(int(content_key(["views", name])[:15], 16))
    copies = np.empty_like(images)
    for start in range(0, len(images), _AT_ONCE):
        part = shared_tensor(images[start : start + _AT_ONCE])
        copies[start : start + _AT_ONCE] = augmented_by(generator, part, AUGMENT).numpy()
    return copies
