from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from metabench.errors import UsageError
from metabench_backbones.conv4 import Block, Conv4
from metabench_backbones.conv4_strided import Conv4Strided, Conv4StridedFlat
from metabench_backbones.pixels import Pixels
from metabench_backbones.siamese_conv import SiameseConv


def scrambled(shape: tuple[int, int, int] = (1, 28, 28), pools: int = 4) -> Conv4:
    """A Conv-4 whose batch norms have been somewhere: running statistics, and weights of both signs."""
    torch.manual_seed(0)
    backbone = Conv4(shape, pools=pools)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            assert (module.weight < 0).any() and (module.weight > 0).any()
    return backbone


def images(batch: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [((1, 28, 28), 64, 64), ((3, 84, 84), 64, 1600), ((3, 32, 32), 32, 128), ((1, 16, 40), 8, 16)],
)
def test_conv4_feature_dim_is_what_comes_out(shape: tuple[int, int, int], channels: int, expected: int) -> None:
    backbone = Conv4(shape, channels).eval()
    with torch.no_grad():
        assert backbone.feature_dim == expected == backbone(images(2, shape)).shape[1]


def test_conv4_has_the_published_number_of_weights() -> None:
    convolutions = (1 * 9 + 1) * 64 + 3 * (64 * 9 + 1) * 64
    assert sum(parameter.numel() for parameter in Conv4((1, 28, 28)).parameters()) == convolutions + 4 * 2 * 64


@pytest.mark.parametrize("training", [True, False])
def test_conv4_equals_the_textbook_order(training: bool) -> None:
    """Convolution, batch norm, ReLU, pooling: ReLU is monotonic, so it and the maximum commute exactly."""
    backbone = scrambled().train(training)
    plain = copy.deepcopy(backbone)
    features = images(6, (1, 28, 28)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        ours = backbone(features)
        for block in plain.blocks:
            assert isinstance(block, Block)
            features = nn.functional.max_pool2d(torch.relu(block.norm(block.conv(features))), 2)
    assert (ours > 0).any()
    assert torch.equal(ours, features.flatten(1))


@pytest.mark.parametrize(("pools", "sides"), [(1, (42, 41)), (2, (21, 20)), (3, (10, 10)), (4, (5, 5))])
def test_conv4_pools_in_the_first_blocks_only(pools: int, sides: tuple[int, int]) -> None:
    backbone = scrambled((3, 84, 82), pools)
    batch = images(3, (3, 84, 82))
    features = batch
    for index, block in enumerate(copy.deepcopy(backbone).eval().blocks):
        features = torch.relu(block.norm(block.conv(features)))
        features = nn.functional.max_pool2d(features, 2) if index < pools else features
    with torch.no_grad():
        assert backbone.map_shape == (64, *sides) == features.shape[1:]
        torch.testing.assert_close(backbone.eval()(batch), features.flatten(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pools", [0, 5])
def test_conv4_has_no_more_blocks_that_pool_than_blocks(pools: int) -> None:
    with pytest.raises(UsageError, match="pools must be 1 to 4"):
        Conv4((1, 28, 28), pools=pools)


@pytest.mark.parametrize(("shape", "pools"), [((1, 28, 28), 4), ((3, 40, 33), 4), ((3, 33, 20), 2), ((1, 20, 20), 1)])
def test_the_fused_form_equals_evaluation_mode(shape: tuple[int, int, int], pools: int) -> None:
    backbone = scrambled(shape, pools)
    batch = images(9, shape)
    with torch.no_grad():
        fused = backbone.for_inference()
        expected = backbone.eval()(batch)
        assert expected.std() > 0.01
        torch.testing.assert_close(fused(batch), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


def test_fusing_leaves_the_original_as_it_is() -> None:
    backbone = scrambled().train()
    before = copy.deepcopy(backbone.state_dict())
    fused = backbone.for_inference()
    with torch.no_grad():
        fused(images(4, (1, 28, 28)))
        for parameter in fused.parameters():
            parameter.zero_()
    after = backbone.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert backbone.training and not fused.training
    assert all(module.training for module in backbone.modules())


def test_conv4_gradients_reach_every_weight() -> None:
    backbone = Conv4((1, 28, 28), channels=8)
    backbone(images(5, (1, 28, 28))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_pixels_are_flattened_images() -> None:
    backbone, batch = Pixels((3, 4, 5)), images(2, (3, 4, 5))
    assert backbone.feature_dim == 60
    assert torch.equal(backbone(batch.contiguous(memory_format=torch.channels_last)), batch.reshape(2, 60))
    assert not list(backbone.parameters())
    assert backbone.for_inference() is backbone


def test_conv4_strided_halves_four_times_and_takes_the_mean() -> None:
    torch.manual_seed(0)
    net = Conv4Strided((1, 28, 28), channels=6)
    images = torch.rand(5, 1, 28, 28)
    sides = []
    for block in net.blocks:
        block.register_forward_hook(lambda module, inputs, output: sides.append(tuple(output.shape[1:])))
    features = net(images)
    assert sides == [(6, 14, 14), (6, 7, 7), (6, 4, 4), (6, 2, 2)]
    assert features.shape == (5, net.feature_dim) == (5, 6)
    torch.testing.assert_close(features, net.blocks(images).flatten(2).mean(2))


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 16, 33)])
def test_conv4_strided_flat_keeps_all_positions(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    net = Conv4StridedFlat(shape, channels=6)
    images = torch.rand(5, *shape)
    maps = net.blocks(images)
    assert net.feature_dim == maps[0].numel() == 6 * (4 if shape[1] == 28 else 3)
    torch.testing.assert_close(net(images), maps.reshape(5, -1))


@pytest.mark.parametrize("target", [Conv4, Conv4Strided, Conv4StridedFlat])
def test_conv4_works_channels_last_on_images_of_one_channel_too(target: type[Conv4 | Conv4Strided]) -> None:
    net, seen = target((1, 28, 28), 8), []
    net.blocks[0].register_forward_hook(lambda _, __, found: seen.append(found))
    net(torch.rand(2, 1, 28, 28))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_siamese_conv_is_the_network_of_the_figure() -> None:
    torch.manual_seed(0)
    net = SiameseConv((1, 105, 105), units=16)
    sides = []
    for conv in net.convs:
        conv.register_forward_hook(lambda _, __, maps: sides.append(tuple(maps.shape[1:])))
    features = net(images(1, (1, 105, 105)))
    assert sides == [(64, 96, 96), (128, 42, 42), (128, 18, 18), (256, 6, 6)]
    assert features.shape == (1, net.feature_dim) == (1, 16)
    assert bool(((features > 0) & (features < 1)).all())
    assert net.last.in_features == 9216


def test_siamese_conv_resizes_what_has_another_size() -> None:
    net = SiameseConv((3, 28, 40), units=4)
    items = torch.full((2, 28, 40, 3), 51, dtype=torch.uint8)
    torch.testing.assert_close(net.inputs(items), torch.full((2, 3, 105, 105), 0.2))
    drawing = torch.randint(0, 256, (1, 105, 105, 1), dtype=torch.uint8)
    assert torch.equal(SiameseConv((1, 105, 105), units=4).inputs(drawing)[0, 0], drawing[0, :, :, 0] / 255)
