"""Shared parts of encoders trained elsewhere: their inputs, and batch norm folded away."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import UsageError, normalise

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the channels of ImageNet's images in [0, 1], as torchvision has them."""


class Inputs(nn.Module):
    """From raw images to those that an encoder was trained on.

    Args:
        image_shape: (channels, height, width) of the raw images; grey ones are repeated in three channels.
        size: height and width that the encoder wants.
        mean, deviation: of its channels in training.
        resample: ``bicubic`` or ``bilinear``; shrinking averages over what a pixel covers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        image_shape: Sequence[int],
        size: tuple[int, int],
        mean: Sequence[float] = MEAN,
        deviation: Sequence[float] = DEVIATION,
        resample: str = "bicubic",
    ) -> None:
        super().__init__()
        if image_shape[0] not in (1, 3):
            raise UsageError(f"is for images of 1 or 3 channels, not {image_shape[0]}")
        self.size, self.resample = size, resample
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        """Map uint8 (N, H, W, C) to float (N, 3, *size)."""
        images = normalise(items).expand(-1, 3, -1, -1)
        if images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode=self.resample, align_corners=False, antialias=True)
            images = images.clamp(0, 1)  # bicubic overshoots
        return (images - self.mean) / self.deviation


def folded(module: nn.Module, pairs: Sequence[tuple[str, str]]) -> nn.Module:
    """Return a copy in evaluation mode with each batch norm of `pairs` folded into the convolution before it.

    Args:
        pairs: attribute names (convolution, batch norm) that stand beside each other, wherever both do.
    """
    copied = copy.deepcopy(module).eval()
    for owner in copied.modules():
        for conv, norm in pairs:
            body, after = getattr(owner, conv, None), getattr(owner, norm, None)
            if isinstance(body, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(owner, conv, nn.utils.fuse_conv_bn_eval(body, after))
                setattr(owner, norm, nn.Identity())
    return copied
