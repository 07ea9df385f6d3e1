"""Relation Networks (Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead

_CHANNELS, _HIDDEN = 64, 8
"""Filters of the relation module, and units of its hidden layer (section 3.4)."""


class RelationNet(FeatureHead):
    """A network g compares the maps of query and class and gives their relation score (section 3.2).

    Differences from the authors' code: its batch norms have momentum 1 and are never put into evaluation mode, so that
    the score of a query depends on the queries beside it; here running statistics of the usual momentum are used. For
    mini-ImageNet its convolutions have no padding; here they have, as its own for Omniglot, so that any map will do.

    Args:
        map_shape: (C, H, W).
    """

    def __init__(self, map_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = map_shape
        self.first = nn.Conv2d(2 * channels, _CHANNELS, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(_CHANNELS)
        self.second = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(_CHANNELS)
        positions = math.prod(max(1, max(1, side // 2) // 2) for side in (height, width))
        self.hidden, self.score = nn.Linear(_CHANNELS * positions, _HIDDEN), nn.Linear(_HIDDEN, 1)
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        for linear in (self.hidden, self.score):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.constant_(linear.bias, 1.0)

    def logits(self, episode: Episode) -> Tensor:
        """Return the relation scores r_ij before their sigmoid, which keeps their order, (B, Q, way).

        Equation 1, r_ij = g(C(f(x_i), f(x_j))), C putting the channels of both on top of each other. A convolution of
        them is the sum of one of either part, so that those are made once for each map and not for each pair.
        """
        (batch, queries), way = episode.query.shape[:2], episode.way
        weight, bias, norm = _folded(self.first, self.first_norm)
        of_class, of_query = weight.chunk(2, dim=1)
        classes = F.conv2d(_channels_last(_class_maps(episode)), of_class, bias, padding=1)
        others = F.conv2d(_channels_last(episode.query), of_query, padding=1)
        pairs = others.view(batch, queries, 1, *others.shape[1:]) + classes.view(batch, 1, way, *classes.shape[1:])
        maps = torch.relu(_pooled(norm(pairs.flatten(0, 2))))  # in this order on fewer values
        weight, bias, norm = _folded(self.second, self.second_norm)
        maps = torch.relu(_pooled(norm(F.conv2d(maps, weight, bias, padding=1))))
        scores: Tensor = self.score(torch.relu(self.hidden(maps.flatten(1))))
        return scores.view(batch, queries, way)

    def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
        """Return the mean squared error of the relation scores, which are to be 1 for the class and 0 (equation 2)."""
        relations = torch.sigmoid(self.logits(episode))
        return F.mse_loss(relations, F.one_hot(query_labels, episode.way).to(relations.dtype))


def _class_maps(episode: Episode) -> Tensor:
    """Return the sum of the support maps of each class, (B, way, C, H, W) (section 3.2, K-shot)."""
    members = F.one_hot(episode.labels, episode.way).to(episode.support.dtype)
    return torch.einsum("bsk,bschw->bkchw", members, episode.support)


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, nn.Module]:
    """Return weight and bias of a convolution and the layer after it: in evaluation none, for `norm` is in both."""
    assert conv.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if norm.training:
        return conv.weight, conv.bias, norm
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = conv.weight * scale[:, None, None, None]
    return weight, (conv.bias - norm.running_mean) * scale + norm.bias, nn.Identity()


def _channels_last(maps: Tensor) -> Tensor:
    """Return maps (B, N, C, H, W) as (B N, C, H, W), channels last in memory, where pooling is several times faster."""
    return maps.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _pooled(maps: Tensor) -> Tensor:
    """Halve (N, C, H, W) by 2x2 max-pooling where there is room; a side of 1 stays."""
    return F.max_pool2d(maps, [min(2, side) for side in maps.shape[2:]])
