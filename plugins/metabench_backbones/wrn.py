"""Wide residual networks: WRN-28-10 and smaller ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Backbone, UsageError


class Block(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice, beside the identity or a 1x1 convolution (pre-activation)."""

    def __init__(self, channels_in: int, channels: int, stride: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = _conv(channels_in, channels, 3, stride)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.short = _conv(channels_in, channels, 1, stride) if channels_in != channels or stride > 1 else None
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels, H / stride, W / stride)."""
        ready = torch.relu(self.norm1(maps))
        hidden = torch.relu(self.norm2(self.conv1(ready)))
        hidden = self.conv2(F.dropout(hidden, self.drop, self.training) if self.drop else hidden)
        total: Tensor = hidden + (maps if self.short is None else self.short(ready))
        return total


class WideResNet(Backbone):
    """WRN-depth-width (Zagoruyko and Komodakis 2016), then the mean over positions: 64 width features.

    Args:
        image_shape: (channels, height, width).
        depth: 6 n + 4 layers, n blocks in each of three groups.
        width: times 16, 32 and 64 channels.
        drop: dropout between the convolutions of a block.
        first_stride: of the first group; 2 for images of 84x84 takes a quarter of the time.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        depth: int = 28,
        width: int = 10,
        drop: float = 0.0,
        first_stride: int = 1,
    ) -> None:
        super().__init__()
        blocks, odd = divmod(depth - 4, 6)
        if odd or blocks < 1:
            raise UsageError(f"backbone.depth is 6 n + 4, such as 10, 16 or 28, not {depth}")
        self.first = _conv(image_shape[0], 16, 3)
        groups: list[nn.Module] = []
        channels = 16
        for base, stride in ((16, first_stride), (32, 2), (64, 2)):
            for index in range(blocks):
                groups.append(Block(channels, base * width, stride if index == 0 else 1, drop))
                channels = base * width
        self.groups = nn.Sequential(*groups)
        self.last = nn.BatchNorm2d(channels)
        self.feature_dim = channels
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        maps = self.groups(self.first(images.contiguous(memory_format=torch.channels_last)))
        return torch.relu(self.last(maps)).mean((2, 3))


def _conv(channels_in: int, channels: int, side: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels, side, stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
