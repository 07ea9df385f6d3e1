"""ResNet-12 with its DropBlock, and wide residual networks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.errors import UsageError
from metabench.models.task_context import TaskContext, task_context
from metabench_backbones._dropblock import Drop, kept_positions
from metabench_backbones.resnet12 import ResNet12
from metabench_backbones.wrn import WideResNet

SMALL = "64-128-256-512"


def images(batch: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(3))


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("widths", "pool", "count", "features"),
    [
        ("64-160-320-640", True, 12_424_320, 640),
        ("64-160-320-640", False, 12_424_320, 16_000),
        (SMALL, False, 7_996_800, 12_800),
    ],
)
def test_resnet12_has_the_published_size(widths: str, pool: bool, count: int, features: int) -> None:
    """12.4 and 8.0 million weights; 16,000 features without pooling (Lee et al. 2019)."""
    network = ResNet12((3, 84, 84), widths, pool)
    assert (weights(network), network.feature_dim) == (count, features)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 40)])
def test_resnet12_feature_dim_is_what_comes_out(shape: tuple[int, int, int], pool: bool) -> None:
    network = ResNet12(shape, SMALL, pool).eval()
    with torch.no_grad():
        assert network(images(2, shape)).shape == (2, network.feature_dim)


def test_resnet12_is_too_deep_for_small_images() -> None:
    assert ResNet12((1, 15, 15), SMALL).feature_dim == 0


def test_a_block_of_resnet12_is_the_textbook_one() -> None:
    torch.manual_seed(0)
    block = ResNet12((3, 16, 16), SMALL).blocks[0].train()
    x = images(4, (3, 16, 16))

    def normal(maps: Tensor) -> Tensor:
        mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), correction=0, keepdim=True)
        return (maps - mean) / (variance + 1e-5).sqrt()

    found = block(x)
    y = F.leaky_relu(normal(F.conv2d(x, block.conv1.weight, padding=1)), 0.1)
    y = F.leaky_relu(normal(F.conv2d(y, block.conv2.weight, padding=1)), 0.1)
    y = normal(F.conv2d(y, block.conv3.weight, padding=1)) + normal(F.conv2d(x, block.conv0.weight))
    expected = F.leaky_relu(y, 0.1).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_folded_form_equals_evaluation_mode() -> None:
    network = ResNet12((3, 16, 16), SMALL)
    batch = images(6, (3, 16, 16))
    with torch.no_grad():
        network.train()(batch)  # running statistics other than those of the start
        expected = copy.deepcopy(network).eval()(batch)
        folded = network.for_inference()
        torch.testing.assert_close(folded(batch), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert network.training and sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 16


def test_the_rate_rises_with_the_training_episodes_and_is_no_state() -> None:
    drop = Drop(0.1, 1000, 5)
    rates = []
    for episode in (0, 500, 1000, 5000, 250):
        with task_context(TaskContext(episode=episode)):
            rates.append(drop.rate_now())
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.1, 0.025])
    assert drop.rate_now() == 0 and not drop.state_dict()
    assert Drop(0.2, 0).rate_now() == 0.2


@pytest.mark.parametrize(("block", "shape"), [(1, (12, 12)), (3, (12, 9)), (5, (10, 10)), (5, (4, 4))])
def test_dropped_squares(block: int, shape: tuple[int, int]) -> None:
    """Whole squares within the map, and about the share that was asked for (overlaps make it less)."""
    torch.manual_seed(1)
    kept = kept_positions(torch.empty(64, 32, *shape), 0.05, block)
    assert kept.unique().tolist() == [0, 1] and kept.shape == (64, 32, *shape)
    assert 0.04 < 1 - float(kept.mean()) < 0.055
    side = min(block, *shape)
    gone = 1 - kept
    covered = F.max_pool2d(F.pad(-F.max_pool2d(-gone, side, stride=1), [side - 1] * 4), side, stride=1)
    assert torch.equal(covered, gone)  # opening by the square changes nothing: squares are all there is


def test_drop_works_in_training_only_and_keeps_the_mean() -> None:
    torch.manual_seed(2)
    maps = torch.rand(32, 16, 10, 10)
    for block in (1, 5):
        drop = Drop(0.3, 0, block)
        assert drop.eval()(maps) is maps
        found = drop.train()(maps)
        assert (found == 0).any()
        assert float(found.mean()) == pytest.approx(float(maps.mean()), rel=0.05)


def test_drop_of_everything_is_finite() -> None:
    assert Drop(1.0, 0, 5).train()(torch.ones(2, 2, 5, 5)).isfinite().all()


@pytest.mark.parametrize(("depth", "width", "count"), [(28, 10, 36_472_784), (16, 4, 2_746_320)])
def test_wide_resnets_have_the_published_size(depth: int, width: int, count: int) -> None:
    """36.5 and 2.7 million weights (Zagoruyko and Komodakis 2016), less their classifier of 10 classes."""
    network = WideResNet((3, 84, 84), depth, width)
    assert (weights(network), network.feature_dim) == (count, 64 * width)


@pytest.mark.parametrize("stride", [1, 2])
def test_wide_resnet_shapes_and_gradients(stride: int) -> None:
    network = WideResNet((1, 20, 28), depth=10, width=1, drop=0.1, first_stride=stride)
    features = network(images(3, (1, 20, 28)))
    assert features.shape == (3, network.feature_dim) == (3, 64)
    features.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_depth_of_a_wide_resnet() -> None:
    with pytest.raises(UsageError, match=r"6 n \+ 4, such as 10, 16 or 28, not 12"):
        WideResNet((1, 28, 28), depth=12)
