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
            name="pixels",
            version=1,
            target="metabench_backbones.pixels:Pixels",
            summary="the identity: raw pixels in [0, 1] as features",
            reference="none; the floor below which no backbone may fall",
            licence="MIT",
            trains=False,
        ),
    ]
