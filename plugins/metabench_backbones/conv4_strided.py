"""Conv-4 with strided convolutions in the place of pooling, as MAML and Reptile use it on Omniglot, each in its way."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from metabench.api import Backbone, TaskNorm
from metabench_backbones._first_block import first_block, takes_short_way


class Conv4Strided(Backbone):
    """Four 3x3 convolutions of stride 2 with batch norm and ReLU, then the mean over positions.

    Finn et al. 2017, appendix A.1 and the authors' ``maml.py`` (``forward_conv``). TensorFlow pads an even side
    on one end only; here, as in every PyTorch version of it, one pixel is added on both.

    Args:
        image_shape: (channels, height, width).
        channels: filters in every block.
    """

    def __init__(self, image_shape: tuple[int, int, int], channels: int = 64) -> None:
        super().__init__()
        widths = [image_shape[0], *[channels] * 4]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(first, second, 3, stride=2, padding=1), nn.BatchNorm2d(second), nn.ReLU())
                for first, second in itertools.pairwise(widths)
            )
        )
        self.feature_dim = channels

    def for_adapting(self) -> nn.Module:
        """Compute the first block as `first_block` does where the statistics are those of the pass."""
        return _QuickStrided(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        # Batch norm is several times slower otherwise; `contiguous` would do nothing to images of one channel.
        maps: Tensor = self.blocks(images.to(memory_format=torch.channels_last))
        return self.of_maps(maps)

    def of_maps(self, maps: Tensor) -> Tensor:
        """Return the features (N, feature_dim) of the last maps (N, channels, height, width)."""
        return maps.mean((2, 3))


class Conv4StridedFlat(Conv4Strided):
    """The same, and the features of every position: Nichol et al. 2018, the authors' ``models.py``."""

    def __init__(self, image_shape: tuple[int, int, int], channels: int = 64) -> None:
        super().__init__(image_shape, channels)
        height, width = (math.ceil(side / 16) for side in image_shape[1:])
        self.map_shape = channels, height, width
        self.feature_dim = math.prod(self.map_shape)

    def of_maps(self, maps: Tensor) -> Tensor:
        """Return all of them."""
        return maps.flatten(1)


class _QuickStrided(nn.Module):
    """A `Conv4Strided` whose first block takes the short way."""

    def __init__(self, network: Conv4Strided) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W), needing no gradient, to (N, feature_dim)."""
        first, *rest = self.network.blocks
        assert isinstance(first, nn.Sequential)
        conv, norm, _ = first
        assert isinstance(conv, nn.Conv2d)
        if not takes_short_way(images, conv, norm):
            plain: Tensor = self.network(images)
            return plain
        assert isinstance(norm, TaskNorm)
        features = first_block(images.contiguous(memory_format=torch.channels_last), conv, norm)
        for block in rest:
            features = block(features)
        return self.network.of_maps(features)
