"""Specs of the transfer methods: a backbone pre-trained by classification, and what is made of its features."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, Exempt, Param
from metabench_algorithms.transfer._recipes import COSINE, DISTILLED, META_BASELINE, PRETRAIN

_IN_TURN = (
    Exempt("support-order", "stochastic gradient descent takes the support in batches, in a fixed order"),
    Exempt("label-permutation", "the weights of its classes start at random, and not the same"),
)
_LOGISTIC = (
    Param("c", 1.0, "inverse strength of the L2 penalty, as in scikit-learn", scoring=True),
    Param("normalise", True, "divide features by their length first", scoring=True),
)

SPECS = [
    AlgorithmSpec(
        name="linear-probe",
        version=1,
        target="metabench_algorithms.transfer.linear_probe:LinearProbe",
        summary="logistic regression on features: those of pixels, of a pre-trained backbone, or of one trained here",
        reference="Tian et al. 2020, Rethinking Few-shot Image Classification: a Good Embedding Is All You Need?",
        licence="MIT",
        trains=True,
        own_weights=False,
        backbone="pixels",
        params=_LOGISTIC,
        recipes=PRETRAIN,
    ),
    AlgorithmSpec(
        name="rfs",
        version=1,
        target="metabench_algorithms.transfer.rfs:Rfs",
        summary="logistic regression on pre-trained features; more generations by --set distill.repeat=N",
        reference="Tian et al. 2020, Rethinking Few-shot Image Classification: a Good Embedding Is All You Need?",
        licence="MIT",
        trains=True,
        own_weights=False,
        params=(
            *_LOGISTIC,
            Param(
                "views", False, "fit to five augmented copies of each support image instead of the image", scoring=True
            ),
        ),
        uses=("views",),
        uses_when={"views": (True,)},
        recipes=DISTILLED,
    ),
    AlgorithmSpec(
        name="baseline",
        version=1,
        target="metabench_algorithms.transfer.baseline:Baseline",
        summary="linear classifier, fitted by SGD to pre-trained features of the support",
        reference="Chen et al. 2019, A Closer Look at Few-shot Classification",
        licence="MIT",
        trains=True,
        own_weights=False,
        exempt=_IN_TURN,
        recipes=PRETRAIN,
    ),
    AlgorithmSpec(
        name="baseline-plus-plus",
        version=1,
        target="metabench_algorithms.transfer.baseline:BaselinePlusPlus",
        summary="classifier by cosines, in pre-training and fitted by SGD to the support",
        reference="Chen et al. 2019, A Closer Look at Few-shot Classification",
        licence="MIT",
        trains=True,
        own_weights=False,
        params=(Param("scale", 2.0, "factor of the cosines", scoring=True),),
        exempt=_IN_TURN,
        recipes=COSINE,
    ),
    AlgorithmSpec(
        name="simpleshot",
        version=1,
        target="metabench_algorithms.transfer.simpleshot:SimpleShot",
        summary="nearest class mean of pre-trained features, centred and of length 1",
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
        name="meta-baseline",
        version=1,
        target="metabench_algorithms.transfer.meta_baseline:MetaBaseline",
        summary="cosine to the class mean with a learned temperature, meta-trained after pre-training",
        reference="Chen et al. 2021, Meta-Baseline: Exploring Simple Meta-Learning for Few-Shot Learning",
        licence="MIT",
        trains=True,
        params=(Param("temperature", 10.0, "initial factor of the cosines; learned"),),
        recipes=META_BASELINE,
    ),
]
