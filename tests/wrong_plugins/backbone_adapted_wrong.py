"""Leaves batch normalisation out when it is prepared for algorithms that adapt to each task."""

from torch import nn

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-adapted-wrong",
            version=1,
            target="backbone_adapted_wrong:Wrong",
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
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images):
        return self.norm(self.conv(images)).relu().mean((2, 3))

    def for_adapting(self):
        return nn.Sequential(self.conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
