"""Fixtures for the whole test suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from metabench.data import ClassSplit
from metabench.registry.registry import clear_registry
from tests.replays import choose_replays

# Tests are small and several run at once: more threads would only wait for each other. Before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Command = Callable[..., subprocess.CompletedProcess[str]]
SetThreads = Callable[[int], None]
MakeSplit = Callable[[list[int]], ClassSplit]

settings.register_profile("untimed", deadline=None)  # a busy machine is not a failure
settings.load_profile("untimed")

RECORDS = Path(__file__).parent.parent / "leaderboards" / "records"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--replay",
        choices=["changed", "all"],
        default="changed",
        help="committed records replayed with all their episodes: those that a change adds or alters, or all",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.scheduling import make_scheduler  # needs xdist

    return make_scheduler(config, log)


def pytest_report_header(config: pytest.Config) -> str:
    return str(choose_replays(config.getoption("--replay"), RECORDS))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one run share, so that what is made of real data is made once."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def set_threads() -> Iterator[SetThreads]:
    """Set the number of torch's threads for one test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_split() -> MakeSplit:
    """Build a split of one-pixel images from the number of images in each class, named c0, c1, ..."""

    def build(counts: list[int]) -> ClassSplit:
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        images = np.zeros((int(starts[-1]), 1, 1, 1), dtype=np.uint8)
        return ClassSplit(images, starts, tuple(f"c{index}" for index in range(len(counts))))

    return build


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the toy distributions: on the path, their entry points are seen."""
    base = tmp_path_factory.mktemp("toys")
    source, target = base / "source", base / "target"
    shutil.copytree(Path(__file__).parent / "toys", source)  # setuptools builds inside the source folder
    names = ("good", "broken", "misspelt", "clashing")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, *(source / name for name in names)],
        check=True,
    )
    return target


@pytest.fixture
def toys(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the toy plugins visible to this process for one test."""
    monkeypatch.syspath_prepend(toy_folder)
    clear_registry()
    yield
    clear_registry()
    for name in [name for name in sys.modules if name.startswith("toy_")]:
        del sys.modules[name]


@pytest.fixture
def command(toy_folder: Path, tmp_path: Path) -> Command:
    """Run ``metabench`` with the toys installed, in a process of its own and a home of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "METABENCH_DATA"}
    paths = [str(toy_folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "METABENCH_HOME": str(tmp_path / "home")}

    def run(*words: str, code: str = "from metabench.cli.main import entry; entry()"):
        return subprocess.run(
            [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, timeout=120
        )

    return run
