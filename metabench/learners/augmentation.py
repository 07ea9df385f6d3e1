"""Augmenting training images where they are, many at once, each in its own way: no worker processes, no Python loop.

What is drawn comes from a generator of each call, seeded by one number of torch's training stream: a resumed training
augments as one that was never stopped, and the same numbers are drawn on a CPU and on a GPU.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch

AUGMENTS = ("none", "crop-flip", "crop-flip-jitter")
JITTER = 0.4
"""Brightness, contrast and saturation are multiplied by a factor of 1 - JITTER to 1 + JITTER."""
_GREY = (0.299, 0.587, 0.114)


def padding(side: int) -> int:
    """Return how far a crop may be shifted: 8 pixels at 84, 4 at 32, as Lee et al. 2019 have it."""
    return -(-2 * side // 21)


def training_items(images: Tensor, batch: EpisodeBatch, augment: str) -> tuple[Tensor, EpisodeBatch]:
    """Return the items of a batch of training episodes, augmented, and the batch with its rows in them.

    Every image of every episode is augmented by itself. With ``none`` all stays as it is.

    Args:
        images: uint8 (N, H, W, C) of the training split.
        augment: one of `AUGMENTS`.
    """
    if augment == "none":
        return images, batch
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    found, batch = own_items(images, batch)
    found = crop_flip(found, generator)
    if augment == "crop-flip-jitter":
        found = jitter(found, generator)
    return found, batch


def own_items(images: Tensor, batch: EpisodeBatch) -> tuple[Tensor, EpisodeBatch]:
    """Return the items of a batch of episodes one after the other, and the batch with its rows in them.

    Args:
        images: (N, ...) that the rows of `batch` mean.
    """
    n_support = batch.support.shape[1]
    rows = np.concatenate([batch.support, batch.query], axis=1)
    here = np.arange(rows.size, dtype=rows.dtype).reshape(rows.shape)
    found = images[torch.from_numpy(rows.reshape(-1)).to(images.device)]
    return found, replace(batch, support=here[:, :n_support], query=here[:, n_support:])


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each of uint8 (N, H, W, C) by up to `padding` with black from outside, and mirror half of them."""
    count, height, width, _ = images.shape
    down, right = (
        torch.randint(-padding(side), padding(side) + 1, (count,), generator=generator) for side in (height, width)
    )
    mirrored = torch.rand(count, generator=generator) < 0.5
    rows = torch.arange(height) + down[:, None]
    columns = torch.arange(width) + right[:, None]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    index = (
        torch.arange(count)[:, None, None] * (height * width)
        + rows.clamp(0, height - 1)[:, :, None] * width
        + columns.clamp(0, width - 1)[:, None]
    )
    found = images.reshape(count * height * width, -1).index_select(0, index.flatten().to(images.device))
    return found.view(images.shape) * inside[..., None].to(images.device)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, then saturation of each of uint8 (N, H, W, C); grey images have no saturation."""
    brightness, contrast, saturation = (
        (1 + JITTER * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)).to(images.device)
        for _ in range(3)
    )
    found = (images.float() * brightness).clamp_(0, 255)
    middle = _grey(found).mean((1, 2), keepdim=True)
    found = middle.lerp(found, contrast).clamp_(0, 255)
    if images.shape[-1] == 3:
        found = _grey(found).lerp(found, saturation).clamp_(0, 255)
    return found.round_().to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Return the luminance (N, H, W, 1) of float images (N, H, W, C)."""
    return images @ images.new_tensor(_GREY)[:, None] if images.shape[-1] == 3 else images
