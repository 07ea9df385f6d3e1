"""The layout of the packages: what the import contract cannot say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent.name for path in (ROOT / "metabench").glob("*/__init__.py"))
WITHOUT_TORCH = ("planning", "records", "statistics", "comparison", "plotting", "reports", "leaderboard")
MOST_LINES = 300

LOAD = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    importlib.import_module(module.name)
print([name for name in ("torch",) if name in sys.modules])
"""


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_loading_a_package_loads_no_torch(package: str) -> None:
    """The contract sees imports; this sees what they load."""
    words = [sys.executable, "-c", LOAD, f"metabench.{package}"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_few_modules_stand_outside_of_packages() -> None:
    loose = {path.stem for path in (ROOT / "metabench").glob("*.py")} - {"__init__"}
    assert loose == {"__main__", "api", "errors", "python_api"}


def test_no_file_is_long() -> None:
    files = [path for folder in ("metabench", "plugins", "tests") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_the_tests_mirror_the_packages() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert folders - set(PACKAGES) == {"plugins"}
    assert set(PACKAGES) <= folders
