"""Declares another number of features than it gives."""

from torch import nn

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-width",
            version=1,
            target="backbone_width:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=True,
        )
    ]


class Wrong(Backbone):
    def __init__(self, image_shape):
        super().__init__()
        self.feature_dim = 16
        self.conv = nn.Conv2d(image_shape[0], 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images):
        return self.norm(self.conv(images)).relu().mean((2, 3))
