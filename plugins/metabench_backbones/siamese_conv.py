"""The convolutional twin of Koch et al. 2015."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Backbone, normalise

_SIDE = 105
"""Height and width of Omniglot's drawings, and of the network's input."""
_FILTERS = ((64, 10), (128, 7), (128, 4), (256, 4))
"""Filters and side of each convolution; the first three are followed by pooling (figure 4)."""
_LAST = 6
"""Side of the last map: 105 - 9 = 96, 48 - 6 = 42, 21 - 3 = 18, 9 - 3 = 6."""


class SiameseConv(Backbone):
    """Four convolutions without padding, ReLU, 2x2 max-pooling, then a fully connected sigmoid layer (figure 4).

    Weights start as in section 3.2: N(0, 0.01) of convolutions and N(0, 0.2) of the last layer, biases N(0.5, 0.01),
    the second number being the standard deviation.

    Args:
        image_shape: (channels, height, width), resized to 105x105.
        units: of the last layer, the features.
    """

    def __init__(self, image_shape: tuple[int, int, int], units: int = 4096) -> None:
        super().__init__()
        widths = (image_shape[0], *(filters for filters, _ in _FILTERS))
        self.convs = nn.ModuleList(
            nn.Conv2d(width, filters, side) for width, (filters, side) in zip(widths, _FILTERS, strict=False)
        )
        self.last = nn.Linear(_FILTERS[-1][0] * _LAST**2, units)
        for layer in (*self.convs, self.last):
            nn.init.normal_(layer.weight, std=0.2 if layer is self.last else 0.01)
            nn.init.normal_(layer.bias, mean=0.5, std=0.01)
        self.feature_dim = units
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def inputs(self, items: Tensor) -> Tensor:
        """Return images in [0, 1], resized where they are of another size."""
        images = normalise(items)
        if images.shape[2:] == (_SIDE, _SIDE):
            return images
        return F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, 105, 105) to (N, feature_dim)."""
        maps = images.to(memory_format=torch.channels_last)
        *pooled, final = self.convs
        for conv in pooled:
            maps = F.max_pool2d(torch.relu(conv(maps)), 2)
        return torch.sigmoid(self.last(torch.relu(final(maps)).flatten(1)))
