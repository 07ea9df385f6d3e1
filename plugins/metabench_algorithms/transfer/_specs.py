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
    AlgorithmSpec(
        name="linear-probe",
        version=1,
        target="metabench_algorithms.transfer.linear_probe:LinearProbe",
        summary="logistic regression on the features as they are, by default of pixels",
        reference="Tian et al. 2020, Rethinking Few-shot Image Classification: a Good Embedding Is All You Need?",
        licence="MIT",
        trains=False,
        backbone="pixels",
        params=(
            Param("c", 1.0, "inverse strength of the L2 penalty, as in scikit-learn"),
            Param("normalise", True, "divide features by their length first"),
        ),
    ),
]
