"""The identity backbone: the pixels themselves are the features."""

from __future__ import annotations

import math

from torch import Tensor

from metabench.api import Backbone


class Pixels(Backbone):
    """Flattens images; has no weights."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.map_shape, self.feature_dim = image_shape, math.prod(image_shape)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C*H*W)."""
        return images.flatten(1)
