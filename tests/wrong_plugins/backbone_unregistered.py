"""Draws a projection at the start and does not register it."""

import torch
from torch import nn

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-unregistered",
            version=1,
            target="backbone_unregistered:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=True,
        )
    ]


class Wrong(Backbone):
    def __init__(self, image_shape):
        super().__init__()
        self.feature_dim = 8
        self.conv = nn.Conv2d(image_shape[0], 8, 3)
        self.projection = torch.randn(8, 8)

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3)) @ self.projection
