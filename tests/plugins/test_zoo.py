"""Encoders by name from timm and torchvision; their weights cannot be had in tests, which have no network."""

from __future__ import annotations

import pytest
import torch

from metabench.errors import MissingError, UsageError
from metabench.planning.data_digests import NO_DIGESTS
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.registry.registry import load_registry
from metabench_backbones.zoo import Timm, Torchvision, _fetched
from tests.vision_libraries import usable

SHAPE = (3, 40, 40)
needs_timm = pytest.mark.skipif(not usable("timm"), reason="needs metabench[timm]")
needs_torchvision = pytest.mark.skipif(not usable("torchvision"), reason="needs metabench[torchvision]")
RAW = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@needs_timm
@pytest.mark.parametrize(("model", "features"), [("resnet18", 512), ("mobilenetv3_small_050", 1024)])
def test_a_model_of_timm(model: str, features: int) -> None:
    body = Timm(SHAPE, model, pretrained=False, size=32).eval()
    images = body.inputs(RAW)
    assert images.shape == (2, 3, 32, 32)
    with torch.no_grad():
        assert body(images).shape == (2, features) == (2, body.feature_dim)


@needs_timm
def test_timm_says_which_size_a_model_wants() -> None:
    assert Timm(SHAPE, "resnet18", pretrained=False).to_input.size == (224, 224)


@needs_torchvision
@pytest.mark.parametrize(("model", "features"), [("resnet18", 512), ("mobilenet_v3_small", 1024)])
def test_a_model_of_torchvision(model: str, features: int) -> None:
    body = Torchvision(SHAPE, model, pretrained=False, size=32).eval()
    with torch.no_grad():
        assert body(body.inputs(RAW)).shape == (2, features) == (2, body.feature_dim)


@needs_timm
@needs_torchvision
def test_unknown_models_are_refused() -> None:
    with pytest.raises(UsageError, match="timm has no model 'resnet81'; did you mean 'resnet"):
        Timm(SHAPE, "resnet81")
    with pytest.raises(UsageError, match="torchvision has no model 'resnet81'; did you mean 'resnet"):
        Torchvision(SHAPE, "resnet81")


def test_weights_that_cannot_be_had() -> None:
    def unreachable() -> None:
        raise OSError("no route to host\nmore")

    with pytest.raises(MissingError, match=r"cannot make net of timm \(no route to host\).*backbone\.pretrained=false"):
        _fetched("timm", "net", unreachable)


@pytest.mark.parametrize(
    ("backbone", "settings", "trained_on"),
    [
        ("timm:resnet18", {}, "unknown"),
        ("timm/resnet18", {"backbone.trained_on": "imagenet-1k"}, "imagenet-1k"),
        ("timm:resnet18", {"backbone.pretrained": False}, ""),
        ("torchvision:resnet18", {}, "imagenet-1k"),
        ("conv4", {}, ""),
    ],
)
def test_the_record_says_what_the_weights_have_seen(
    backbone: str, settings: dict[str, str | bool], trained_on: str
) -> None:
    selection = Selection(("protonet",), backbones=(backbone,), settings=settings)
    (run,) = plan(selection, load_registry())
    assert run.inputs(NO_DIGESTS)["backbone"]["trained_on"] == trained_on
