"""Seeds Python's random numbers for its initial weights."""

import random

from torch import nn

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-seeds",
            version=1,
            target="backbone_seeds:Wrong",
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
        random.seed(0)
        self.conv = nn.Conv2d(image_shape[0], 8, 3)

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3))
