"""The built-in datasets and protocols pass the conformance kit, and no plugin is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.api import DatasetConformance, ProtocolConformance
from metabench.registry.registry import load_registry
from tests.photos import make_folder
from tests.plugins.test_cifar100 import real_cifar
from tests.plugins.test_mini_imagenet import real_mini_imagenet
from tests.plugins.test_omniglot import real_data
from tests.plugins.test_omniglot_lake import real_runs
from tests.plugins.test_tiered_imagenet import real_tiered
from tests.raw_data import FOLDER
from tests.testing import test_builtin_algorithms


class TestSinusoid(DatasetConformance):
    dataset = "sinusoid"


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
        for kit in [*globals().values(), *vars(test_builtin_algorithms).values()]
        if isinstance(kit, type) and kit.__name__.startswith("Test")
    }
    registry = load_registry()
    plugins = Path(__file__).parents[2] / "plugins"
    builtin = {
        item.spec.name for item in registry.plugins.provided if (plugins / item.spec.target.partition(".")[0]).is_dir()
    }
    assert builtin == tried
