"""Specs of the transfer methods: a backbone pre-trained by classification, and what is made of its features."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, Param
from metabench_algorithms.transfer._recipes import PRETRAIN

SPECS = [
    AlgorithmSpec(
        name="simpleshot",
        version=1,
        target="metabench_algorithms.transfer.simpleshot:SimpleShot",
        summary="pre-trained features, centred and of length 1; nearest class mean",
        reference="Wang et al. 2019, SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning",
        licence="MIT",
        trains=True,
        own_weights=False,
        params=(
            Param(
                "transform",
                "cl2n",
                "of features: none, length 1, or less the mean of the base classes and length 1",
                ("un", "l2n", "cl2n"),
                scoring=True,
            ),
        ),
        uses=("base",),
        uses_when={"transform": ("cl2n",)},
        recipes=PRETRAIN,
    ),
]
