"""Fully connected layers on numbers: the network of MAML's regression experiments."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabench.api import Backbone, UsageError, decode_numbers


class Mlp(Backbone):
    """Hidden layers of `width` units with ReLU; the last of them are the features (Finn et al. 2017, section 5.1).

    Args:
        item_shape: (bytes,) of an item: float32 numbers, the last of which is to be predicted.
        width, depth: of the hidden layers; 40 and 2 in the paper.
    """

    outputs = 1

    def __init__(self, item_shape: tuple[int, ...], width: int = 40, depth: int = 2) -> None:
        super().__init__()
        if min(width, depth) < 1:
            raise UsageError("backbone.width and backbone.depth must be at least 1")
        inputs = item_shape[0] // 4 - self.outputs
        self.layers = nn.ModuleList(nn.Linear(width if layer else inputs, width) for layer in range(depth))
        self.feature_dim = width

    def inputs(self, items: Tensor) -> Tensor:
        """Return the numbers (N, D) that the function is of."""
        return decode_numbers(items)[:, : -self.outputs]

    def targets(self, items: Tensor) -> Tensor:
        """Return the number (N, 1) that it gives."""
        return decode_numbers(items)[:, -self.outputs :]

    def forward(self, values: Tensor) -> Tensor:
        """Map numbers (N, D) to features (N, width)."""
        for layer in self.layers:
            values = torch.relu(layer(values))
        return values
