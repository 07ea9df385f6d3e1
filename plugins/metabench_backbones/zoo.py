"""Encoders of model libraries by name: ``timm:NAME`` and ``torchvision:NAME``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from metabench.api import Backbone, MissingError, UsageError, did_you_mean
from metabench_backbones._pretrained import Inputs

T = TypeVar("T")


class _Encoder(Backbone):
    """A network without its classifier, and the images that it was trained on."""

    def __init__(self, network: nn.Module, to_input: Inputs) -> None:
        super().__init__()
        self.network, self.to_input = network, to_input
        with torch.no_grad():
            self.feature_dim = self.network.eval()(torch.zeros(1, 3, *to_input.size)).flatten(1).shape[1]
        self.network.train()

    def inputs(self, items: Tensor) -> Tensor:
        """Resize and normalise as in the training of the network."""
        return self.to_input(items)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, height, width) to (N, feature_dim)."""
        features: Tensor = self.network(images)
        return features.flatten(1)


class Timm(_Encoder):
    """A model of timm, pooled as timm does.

    Args:
        image_shape: (channels, height, width), resized to what the model wants.
        model: its name in timm.
        pretrained: take timm's weights, downloaded when they are first needed; else a random start.
        trained_on: what those weights have seen; it says, and changes nothing.
        size: height and width of the input; 0: the model's own.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        model: str,
        pretrained: bool = True,
        trained_on: str = "unknown",
        size: int = 0,
    ) -> None:
        import timm

        _known("timm", model, timm.is_model(model), timm.list_models)
        network = _fetched("timm", model, lambda: timm.create_model(model, pretrained=pretrained, num_classes=0))
        wanted = timm.data.resolve_model_data_config(network)
        side = (size, size) if size else tuple(wanted["input_size"][1:])
        resample = wanted["interpolation"] if wanted["interpolation"] in ("bicubic", "bilinear") else "bicubic"
        super().__init__(network, Inputs(image_shape, side, wanted["mean"], wanted["std"], resample))


class Torchvision(_Encoder):
    """A classification model of torchvision without its last layer.

    Args:
        image_shape: (channels, height, width), resized to `size`.
        model: its name in torchvision.
        pretrained: take torchvision's newest weights, downloaded when they are first needed; else a random start.
        trained_on: what those weights have seen; it says, and changes nothing.
        size: height and width of the input.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        model: str,
        pretrained: bool = True,
        trained_on: str = "imagenet-1k",
        size: int = 224,
    ) -> None:
        from torchvision import models

        names = models.list_models(module=models)
        _known("torchvision", model, model in names, lambda: names)
        weights = "DEFAULT" if pretrained else None
        network = _fetched("torchvision", model, lambda: models.get_model(model, weights=weights))
        layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        owner, _, last = layers[-1].rpartition(".")
        setattr(network.get_submodule(owner), last, nn.Identity())
        super().__init__(network, Inputs(image_shape, (size, size), resample="bilinear"))


def _known(library: str, model: str, known: bool, names: Callable[[], Sequence[str]]) -> None:
    if not known:
        raise UsageError(f"{library} has no model '{model}'{did_you_mean(model, list(names()))[:300]}")


def _fetched(library: str, model: str, make: Callable[[], T]) -> T:
    """Return what `make` does; where the weights cannot be had, say so."""
    try:
        return make()
    except (OSError, RuntimeError, ImportError) as error:  # whatever the download of either library raises
        cause: Any = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise MissingError(
            f"cannot make {model} of {library} ({cause}); its weights are downloaded when first needed, "
            "--set backbone.pretrained=false starts at random"
        ) from error
