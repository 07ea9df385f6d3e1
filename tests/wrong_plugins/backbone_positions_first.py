"""Says that its features are a map, and flattens positions before channels."""

from torch import nn

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-positions-first",
            version=1,
            target="backbone_positions_first:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=True,
        )
    ]


class Wrong(Backbone):
    def __init__(self, image_shape):
        super().__init__()
        self.map_shape = 8, image_shape[1] // 4, image_shape[2] // 4
        self.feature_dim = 8 * self.map_shape[1] * self.map_shape[2]
        self.conv = nn.Conv2d(image_shape[0], 8, 4, stride=4)

    def forward(self, images):
        return self.conv(images).relu().permute(0, 2, 3, 1).flatten(1)
