"""What is released: the files in the wheel and the source distribution, and one version everywhere."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_NOT_BUILT_FROM = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "leaderboards", "site", "tests"
)


def _in_the_tree() -> Iterator[str]:
    """Yield every file of the packages, by its path in the wheel."""
    for source in (ROOT, ROOT / "plugins"):
        for package in source.glob("metabench*"):
            if package.is_dir() and package.suffix != ".egg-info":
                for file in package.rglob("*"):
                    if file.is_file() and file.suffix != ".pyc":
                        yield file.relative_to(source).as_posix()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both distributions; the wheel is built from the source distribution."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "source", ignore=_NOT_BUILT_FROM)  # setuptools writes into its source folder
    for name in ("tests", "leaderboards"):
        (folder / "source" / name).mkdir()
        (folder / "source" / name / "test_nothing.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def _metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tree = set(_in_the_tree())
    assert {"metabench/py.typed", "metabench_suites/quick@1.toml", "metabench_datasets/data/cub.txt"} < tree
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert sorted(tree - held) == [], "add their suffix to package-data in pyproject.toml"
    assert sorted(held - tree) == []


def test_the_wheel_has_the_license(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()
    assert (_metadata(wheel)["License-Expression"], _metadata(wheel)["License-File"]) == ("MIT", "LICENSE")


def test_the_source_distribution_has_what_is_needed_and_is_small(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    plugins = {f"plugins/{name}" for name in _in_the_tree() if not name.startswith("metabench/")}
    assert (
        plugins | {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "docs/index.md"} <= names
    )
    assert {name.partition("/")[0] for name in names}.isdisjoint({"tests", "leaderboards", ".github"})
    assert path.stat().st_size < 2_000_000


def test_an_index_takes_both(built: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built.iterdir()],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout.count("PASSED")) == (0, 2), done.stdout + done.stderr


def test_one_version_everywhere(wheel: zipfile.ZipFile) -> None:
    released = re.findall(r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$", _text("CHANGELOG.md"), flags=re.MULTILINE)
    citation = yaml.safe_load(_text("CITATION.cff"))
    assert released[0] == (citation["version"], citation["date-released"])
    assert _metadata(wheel)["Version"] == PROJECT["version"] == citation["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_wheel_runs_outside_the_repository(built: Path, tmp_path: Path) -> None:
    """Templates, suites and lists of classes are read from what was installed, not from the tree."""
    (path,) = built.glob("*.whl")
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    subprocess.run([sys.executable, *pip, "--target", site, path], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "METABENCH_HOME": str(tmp_path / "home")}

    def python(*words: str) -> str:
        return subprocess.run(
            [sys.executable, *words], cwd=work, env=environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout

    assert Path(python("-c", "import metabench; print(metabench.__file__)").strip()).is_relative_to(site)
    assert "quick@1" in python("-m", "metabench", "suites")
    python("-m", "metabench", "new", "algorithm", "mine")
    python("-m", "metabench", "leaderboard", "html", "--dir", ".")
    assert "<script>" in (work / "index.html").read_text(encoding="utf-8")
    assert "± " in python("-m", "metabench", "run", "--algo", "nearest-mean", "--episodes", "20")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
