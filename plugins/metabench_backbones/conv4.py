"""Conv-4: four blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 max-pooling."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from metabench.api import Backbone, UsageError
from metabench_backbones._first_block import convolved, first_block, pooled, takes_short_way


class Block(nn.Module):
    """Convolution, batch norm, pooling, ReLU: pooling first is the same function on a quarter of the values."""

    def __init__(self, channels_in: int, channels_out: int, pools: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)
        self.pools = pools

    def forward(self, images: Tensor) -> Tensor:
        """Halve (N, C, H, W) in height and width, if it pools."""
        maps: Tensor = self.norm(self.conv(images))
        return torch.relu(nn.functional.max_pool2d(maps, 2) if self.pools else maps)


class Conv4(Backbone):
    """The standard backbone of few-shot learning (Vinyals et al. 2016, section 4.1; Snell et al. 2017, 3.1).

    Args:
        image_shape: (channels, height, width); each side at least 2^pools.
        channels: filters in every block.
        pools: blocks that pool, the first so many; 2 leaves maps of 21x21 of an image of 84x84, as methods on local
            features have them (Sung et al. 2018, figure 2; Li et al. 2019, section 4.1).

    Raises:
        UsageError: not 1 to 4 blocks that pool.
    """

    def __init__(self, image_shape: tuple[int, int, int], channels: int = 64, pools: int = 4) -> None:
        super().__init__()
        if not 1 <= pools <= 4:
            raise UsageError(f"backbone.pools must be 1 to 4, not {pools}")
        first, height, width = image_shape
        blocks = [Block(first, channels), *(Block(channels, channels, index < pools) for index in range(1, 4))]
        self.blocks = nn.Sequential(*blocks)
        self.map_shape = channels, height >> pools, width >> pools
        self.feature_dim = math.prod(self.map_shape)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.5-2x on CPU

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        # `contiguous` would leave images of one channel as they are, and the first map would not be channels last.
        features: Tensor = self.blocks(images.to(memory_format=torch.channels_last))
        return features.flatten(1)

    def for_training(self) -> nn.Module:
        """Compute the first block as `first_block` does; the parameters are those of `self`."""
        return _QuickConv4(self)

    def for_adapting(self) -> nn.Module:
        """Compute the first block as `first_block` does where the statistics are those of the pass."""
        return _QuickConv4(self)

    def for_inference(self) -> nn.Module:
        """Fold batch norm into the convolutions, with running statistics."""
        return _InferenceConv4(self)


class _QuickConv4(nn.Module):
    """A Conv-4 whose first block takes the short way."""

    def __init__(self, conv4: Conv4) -> None:
        super().__init__()
        self.conv4 = conv4

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W), needing no gradient, to (N, feature_dim)."""
        first, *rest = self.conv4.blocks
        assert isinstance(first, Block)
        if not takes_short_way(images, first.conv, first.norm):
            plain: Tensor = self.conv4(images)
            return plain
        features = first_block(images.contiguous(memory_format=torch.channels_last), first.conv, first.norm)
        for block in rest:
            features = block(features)
        return features.flatten(1)


class _InferenceConv4(nn.Module):
    """A Conv-4 with batch norm folded into its convolutions, for evaluation."""

    def __init__(self, conv4: Conv4) -> None:
        super().__init__()
        blocks = (block for block in copy.deepcopy(conv4.blocks).eval() if isinstance(block, Block))
        self.convs = nn.ModuleList(nn.utils.fuse_conv_bn_eval(block.conv, block.norm) for block in blocks)
        self.pools = [block.pools for block in conv4.blocks if isinstance(block, Block)]
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, feature_dim)."""
        features = images
        for conv, pools in zip(self.convs, self.pools, strict=True):
            assert isinstance(conv, nn.Conv2d)
            block = pooled if pools else convolved
            features = block(features, conv.weight, conv.bias)
        return features.flatten(1)
