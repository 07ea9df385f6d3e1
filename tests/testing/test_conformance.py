"""The kit as pytest plugin and as a process: nothing passes that was not checked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from metabench.testing.runner import CheckResult, CheckTarget, run_checks

HERE = Path(__file__).parent.parent
RIGHT = HERE / "right_plugin.py"
WRONG = HERE / "wrong_plugins" / "ties_by_index.py"
AUTHOR = f"""
    import sys
    from metabench.api import AlgorithmConformance

    class TestMine(AlgorithmConformance):
        algorithm = "soft-nearest"
        plugin = {str(RIGHT)!r}

    class TestTies(AlgorithmConformance):
        algorithm = "ties-by-index"
        plugin = {str(WRONG)!r}

    class TestUnknown(AlgorithmConformance):
        algorithm = "soft-nearset"
        plugin = {str(RIGHT)!r}

    class TestNameless(AlgorithmConformance):
        pass
"""
ODD = '''
    """Plugins that get in the kit's way."""

    import pytest

    from metabench.api import AlgorithmSpec, BackboneSpec, UsageError, hookimpl
    from metabench.models.interfaces import Backbone, FeatureHead

    COMMON = {"version": 1, "summary": "odd", "reference": "none", "licence": "MIT"}

    @hookimpl
    def metabench_backbones():
        classes = (Picky, Unlucky)
        return [BackboneSpec(name=c.__name__.lower(), target=f"odd:{c.__name__}", **COMMON) for c in classes]

    @hookimpl
    def metabench_algorithms():
        classes = (Lazy, Leaver)
        return [
            AlgorithmSpec(name=c.__name__.lower(), target=f"odd:{c.__name__}", trains=False, **COMMON) for c in classes
        ]

    class Picky(Backbone):
        def __init__(self, image_shape):
            raise UsageError("it takes 224x224 only")

    class Unlucky(Backbone):
        def __init__(self, image_shape):
            raise ValueError("bad\\nluck")

    class Lazy(FeatureHead):
        def __init__(self, feature_dim):
            pytest.skip("not today")

        def logits(self, episode):
            ...

    class Leaver(FeatureHead):
        def __init__(self, feature_dim):
            super().__init__()

        def logits(self, episode):
            import os
            os._exit(0)
'''
Process = subprocess.CompletedProcess[str]


def pytest_run(folder: Path, code: str, *options: str) -> Process:
    """Run an author's test file in a folder of its own, with no home to write to."""
    (folder / "test_mine.py").write_text(dedent(code))
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environment = {**os.environ, "METABENCH_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> tuple[Process, Path]:
    folder = tmp_path_factory.mktemp("author")
    return pytest_run(folder, AUTHOR, "-k", "shapes or spec or query_use or fair_ties or learns"), folder


def lines(author: tuple[Process, Path], word: str, owner: str) -> list[str]:
    return sorted(
        line.rpartition("::")[2].split(" ")[0]
        for line in author[0].stdout.splitlines()
        if line.startswith(word) and f"::{owner}::" in line
    )


def test_an_author_s_class_runs_the_checks(author: tuple[Process, Path]) -> None:
    assert lines(author, "PASSED", "TestMine") == ["test_fair_ties", "test_learns", "test_shapes", "test_spec"]
    assert lines(author, "FAILED", "TestMine") == []
    assert "NotApplicable: it is declared inductive" in author[0].stdout
    assert not (author[1] / "home").exists()


def test_a_failure_explains_itself(author: tuple[Process, Path]) -> None:
    assert lines(author, "FAILED", "TestTies") == ["test_fair_ties"]
    for text in ("of two equal classes the one with the lower label wins 1000 of 1000 times", "means:", "to fix:"):
        assert text in author[0].stdout


def test_an_unknown_or_missing_name_fails_and_is_not_skipped(author: tuple[Process, Path]) -> None:
    every = ["test_fair_ties", "test_learns", "test_query_use", "test_shapes", "test_spec"]
    for owner, message in (
        ("TestUnknown", "unknown algorithm 'soft-nearset'; did you mean 'soft-nearest'?"),
        ("TestNameless", "TestNameless names no plugin; write algorithm = '...' in it"),
    ):
        assert lines(author, "FAILED", owner) == every
        assert message in author[0].stdout


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], CheckResult]:
    """Results of plugins that get in the way, from a folder that does, with settings that do."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.py").write_text(dedent(ODD))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    for name in ("conftest.py", "random.py"):
        (folder / name).write_text("raise RuntimeError")
    targets = [
        CheckTarget("backbone", "picky", plugin=(folder / "odd.py",)),
        CheckTarget("backbone", "unlucky", plugin=(folder / "odd.py",)),
        CheckTarget("backbone", "conv4", {"channels": -3}),
        CheckTarget("algorithm", "lazy", plugin=(folder / "odd.py",)),
        CheckTarget("algorithm", "matching-net", {"fce": True}),
        CheckTarget("algorithm", "leaver", plugin=(folder / "odd.py",)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTEST_ADDOPTS", "--no-such-option")
        results = run_checks(targets, only=["spec", "features", "shapes", "fair-ties"])
    return {(result.name, result.check): result for result in results}


def test_a_backbone_that_takes_no_shape_fails(odd: Mapping[tuple[str, str], CheckResult]) -> None:
    result = odd["picky", "features"]
    assert result.status == "failed"
    assert result.found == "it takes none of the shapes ((1, 28, 28), (3, 32, 32)): it takes 224x224 only"


def test_a_plugin_cannot_skip_its_checks(odd: Mapping[tuple[str, str], CheckResult]) -> None:
    assert odd["lazy", "shapes"].status == odd["lazy", "fair-ties"].status == "failed"
    assert odd["lazy", "shapes"].found == "every case was skipped, so nothing was checked: not today"


def test_an_exception_names_its_place(odd: Mapping[tuple[str, str], CheckResult]) -> None:
    line = 1 + dedent(ODD).splitlines().index('        raise ValueError("bad\\nluck")')
    assert odd["unlucky", "features"].found == f"its constructor raised ValueError: bad luck (odd.py:{line})"


def test_parameters_reach_the_plugin(odd: Mapping[tuple[str, str], CheckResult]) -> None:
    assert odd["conv4", "features"].status == "failed"
    assert "-3" in odd["conv4", "features"].found
    assert odd["matching-net", "fair-ties"].status == "skipped"
    assert "reads the support as a sequence" in odd["matching-net", "fair-ties"].reason


def test_what_has_no_result_has_failed(odd: Mapping[tuple[str, str], CheckResult]) -> None:
    assert odd["leaver", "spec"].status == "passed"
    for check in ("shapes", "fair-ties"):
        assert odd["leaver", check].status == "failed"
        assert odd["leaver", check].found == "pytest ended with code 0 before this check had a result"


def test_an_installed_plugin_must_not_load_torch_to_be_listed(tmp_path: Path) -> None:
    (tmp_path / "eager_plugin.py").write_text(RIGHT.read_text().replace("right_plugin:", "eager_plugin:"))
    info = tmp_path / "eager_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: eager-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metabench]\neager = eager_plugin\n")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    (result,) = run_checks(
        [CheckTarget("algorithm", "soft-nearest")], only=["lazy-import"], environment={"PYTHONPATH": paths}
    )
    assert (result.status, result.found) == ("failed", "import eager_plugin loads ['torch']")


def test_unrelated_pytest_runs_pay_nothing(tmp_path: Path) -> None:
    code = """
        import sys

        def test_light():
            heavy = ("torch", "pandas", "scipy", "metabench.testing.conformance")
            assert "metabench.testing.pytest_plugin" in sys.modules
            assert not [name for name in heavy if name in sys.modules]
    """
    done = pytest_run(tmp_path, code)
    assert done.returncode == 0, done.stdout
