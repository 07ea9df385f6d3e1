"""Augmenting training images on their device, many at once and every image differently, without worker processes.

Random numbers come from a generator per call, which is seeded by one number of torch's training stream: a resumed
training augments as one that was never stopped, and a CPU and a GPU draw the same numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch

JITTER = 0.4
"""Brightness, contrast and saturation are multiplied by a factor of 1 - JITTER to 1 + JITTER."""
_GREY = (0.299, 0.587, 0.114)


def padding(side: int) -> int:
    """Return the largest shift of a crop in pixels: 8 at 84, 4 at 32, as in Lee et al. 2019."""
    return -(-2 * side // 21)


def training_items(images: Tensor, batch: EpisodeBatch, augment: str) -> tuple[Tensor, EpisodeBatch]:
    """Return the items of a batch of training episodes, augmented, and the batch with its rows in them.

    Every image of every episode is augmented on its own. ``none`` changes nothing.

    Args:
        images: uint8 (N, H, W, C) of the training split.
        batch: training episodes.
        augment: one of `metabench.registry.stage_checks.AUGMENTS`.
    """
    if augment == "none":
        return images, batch
    items, batch = own_items(images, batch)
    return augmented(items, augment), batch


def augmented(images: Tensor, augment: str) -> Tensor:
    """Return uint8 images (N, H, W, C), every one augmented on its own.

    Args:
        images: uint8 (N, H, W, C).
        augment: one of `metabench.registry.stage_checks.AUGMENTS`; ``none`` changes nothing.
    """
    if augment == "none":
        return images
    return augmented_by(torch.Generator().manual_seed(int(torch.randint(2**62, ()))), images, augment)


def augmented_by(generator: torch.Generator, images: Tensor, augment: str) -> Tensor:
    """Return the same as `augmented`, of a kind other than ``none``, by random numbers of a generator."""
    images = crop_flip(images, generator)
    return jitter(images, generator) if augment == "crop-flip-jitter" else images


def own_items(images: Tensor, batch: EpisodeBatch) -> tuple[Tensor, EpisodeBatch]:
    """Return the items of a batch of episodes one after the other, and the batch with its rows in them.

    Args:
        images: (N, ...), indexed by the rows of `batch`.
        batch: episodes.
    """
    n_support = batch.support.shape[1]
    rows = np.concatenate([batch.support, batch.query], axis=1)
    here = np.arange(rows.size, dtype=rows.dtype).reshape(rows.shape)
    items = images[torch.from_numpy(rows.reshape(-1)).to(images.device)]
    return items, replace(batch, support=here[:, :n_support], query=here[:, n_support:])


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
    shifted = images.reshape(count * height * width, -1).index_select(0, index.flatten().to(images.device))
    return shifted.view(images.shape) * inside[..., None].to(images.device)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, then saturation of each of uint8 (N, H, W, C); grey images have no saturation."""
    brightness, contrast, saturation = (
        (1 + JITTER * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)).to(images.device)
        for _ in range(3)
    )
    changed = (images.float() * brightness).clamp_(0, 255)
    middle = _grey(changed).mean((1, 2), keepdim=True)
    changed = middle.lerp(changed, contrast).clamp_(0, 255)
    if images.shape[-1] == 3:
        changed = _grey(changed).lerp(changed, saturation).clamp_(0, 255)
    return changed.round_().to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Return the luminance (N, H, W, 1) of float images (N, H, W, C)."""
    return images @ images.new_tensor(_GREY)[:, None] if images.shape[-1] == 3 else images
