"""DropBlock (Ghiasi, Lin and Le 2018), its rate a function of how far meta-training is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import training_episode


class Drop(nn.Module):
    """Drops squares of `block` x `block` positions of each channel, in training only; of one position, plain dropout.

    The rate rises linearly from 0 to `rate` over the first `over` training episodes. What is left is scaled up,
    so that the mean over the batch stays. The harness says which episode it is: the module itself holds nothing.

    Args:
        rate: share of positions that is dropped in the end.
        over: training episodes until then; 0: from the start.
        block: side of the squares; cut to the side of the map.
    """

    def __init__(self, rate: float, over: int, block: int = 1) -> None:
        super().__init__()
        self.rate, self.over, self.block = rate, over, block

    def rate_now(self) -> float:
        """Return the rate at this point of meta-training."""
        return self.rate * min(1.0, training_episode() / self.over) if self.over else self.rate

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        rate = self.rate_now() if self.training else 0.0
        if rate <= 0:
            return maps
        if self.block == 1:
            return F.dropout(maps, rate)
        kept = kept_positions(maps, rate, self.block)
        return maps * kept * (kept.numel() / kept.sum().clamp_min(1))

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"rate={self.rate}, over={self.over}, block={self.block}"


def kept_positions(maps: Tensor, rate: float, block: int) -> Tensor:
    """Return 0 in random squares and 1 elsewhere, (N, C, H, W); about `rate` of the positions are 0.

    Squares lie within the map; gamma, the chance of a square at each of its places, is equation 1 of the paper.
    """
    height, width = maps.shape[2:]
    rows, columns = min(block, height), min(block, width)
    places = (height - rows + 1, width - columns + 1)
    gamma = rate * height * width / (rows * columns * places[0] * places[1])
    corners = (torch.rand(*maps.shape[:2], *places, device=maps.device) < gamma).to(maps.dtype)
    around = F.pad(corners, (columns - 1, columns - 1, rows - 1, rows - 1))
    return 1 - F.max_pool2d(around, (rows, columns), stride=1)
