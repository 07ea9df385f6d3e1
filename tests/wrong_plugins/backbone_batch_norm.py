"""Batch normalisation by the statistics of the batch, in evaluation too."""

from torch import nn
from torch.nn import functional as F

from metabench.api import Backbone, BackboneSpec, hookimpl


@hookimpl
def metabench_backbones():
    return [
        BackboneSpec(
            name="backbone-batch-norm",
            version=1,
            target="backbone_batch_norm:Wrong",
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
        maps = F.batch_norm(self.conv(images), None, None, self.norm.weight, self.norm.bias, training=True)
        return maps.relu().mean((2, 3))
