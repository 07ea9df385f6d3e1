"""ResNet-12, the larger of the two standard backbones of few-shot learning."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Backbone
from metabench_backbones._dropblock import Drop
from metabench_backbones._pretrained import folded

WIDTHS = {"64-160-320-640": (64, 160, 320, 640), "64-128-256-512": (64, 128, 256, 512)}
_SLOPE = 0.1
_PAIRS = (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"), ("conv0", "norm0"))


class Block(nn.Module):
    """Residual block: three 3x3 convolutions, a 1x1 shortcut, leaky ReLU, 2x2 max-pooling, dropout."""

    def __init__(self, channels_in: int, channels: int, drop: Drop) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(channels_in, channels, 3), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = _conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.conv3, self.norm3 = _conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.conv0, self.norm0 = _conv(channels_in, channels, 1), nn.BatchNorm2d(channels)
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """Halve (N, C, H, W) in height and width."""
        hidden = F.leaky_relu(self.norm1(self.conv1(maps)), _SLOPE)
        hidden = F.leaky_relu(self.norm2(self.conv2(hidden)), _SLOPE)
        hidden = F.leaky_relu(self.norm3(self.conv3(hidden)) + self.norm0(self.conv0(maps)), _SLOPE)
        dropped: Tensor = self.drop(F.max_pool2d(hidden, 2))
        return dropped


class ResNet12(Backbone):
    """Four residual blocks (Mishra et al. 2018; in the widths and with the DropBlock of Lee et al. 2019).

    The first two blocks end in dropout, the others in DropBlock; the rate rises during meta-training. Lee et al.
    reach it after 20 of 60 epochs of 8,000 episodes.

    Args:
        image_shape: (channels, height, width); each side at least 16.
        widths: channels of the blocks, one of `WIDTHS`.
        pool: take the mean over positions; else every position is a feature.
        drop: the final rate of dropout and DropBlock.
        drop_episodes: training episodes until it is reached; 0: from the start.
        drop_block: side of the dropped squares: 5 for images of 84x84, 2 for 32x32.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        widths: str = "64-160-320-640",
        pool: bool = True,
        drop: float = 0.1,
        drop_episodes: int = 160_000,
        drop_block: int = 5,
    ) -> None:
        super().__init__()
        first, height, width = image_shape
        sizes = itertools.pairwise((first, *WIDTHS[widths]))
        squares = (1, 1, drop_block, drop_block)
        self.blocks = nn.Sequential(
            *(Block(*size, Drop(drop, drop_episodes, side)) for size, side in zip(sizes, squares, strict=True))
        )
        maps = WIDTHS[widths][-1], height // 16, width // 16
        self.pool = pool
        self.map_shape = None if pool else maps
        self.feature_dim = maps[0] * min(1, maps[1] * maps[2]) if pool else math.prod(maps)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        maps: Tensor = self.blocks(images.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3)) if self.pool else maps.flatten(1)

    def for_inference(self) -> nn.Module:
        """Fold batch norm into the convolutions, with running statistics."""
        return folded(self, _PAIRS)


def _conv(channels_in: int, channels: int, side: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=_SLOPE, mode="fan_out", nonlinearity="leaky_relu")
    return conv
