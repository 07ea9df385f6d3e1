"""Updates running statistics in evaluation."""

from torch import nn

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-statistics-move",
            version=1,
            target="backbone_statistics_move:Wrong",
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
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        self.norm.running_mean.lerp_(self.conv(images).mean((0, 2, 3)), 0.1)
        return features
