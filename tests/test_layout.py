"""The layout of the packages: what the import contract cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from vulture import Vulture

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent.name for path in (ROOT / "metabench").glob("*/__init__.py"))
WITHOUT_TORCH = ("planning", "records", "statistics", "comparison", "plotting", "reports", "leaderboard")
MOST_LINES = 300
NO_OPENINGS = {"how", "that", "what", "when", "where", "whether", "which", "who", "whom", "whose", "why"}
NO_NAMES = {"each", "found", "it", "those", "told"}

MOST_KEYWORDS = 8
CALLED_BY_OTHERS = (
    "__*__", "pytest_*", "metabench_*", "format_commands", "filters", "preprocess", "classifier", "clear_registry",
    "p_friedman", "p_wilcoxon", "best_episode", "best_epoch",
    "backbone_notes", "episode_count", "episode_notes", "href", "is_first", "is_floor",
    "is_overlap_doubtful", "is_score", "training_seconds", "chosen_on", "metabench", "python", "git",
)  # fmt: skip
"""Names that Python, click, Jinja2 (the fields of templates), torch, pytest, plugins, tests or JSON (records) use."""

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


def test_nothing_is_unused() -> None:
    finder = Vulture(ignore_names=CALLED_BY_OTHERS, ignore_decorators=("@*.command", "@hookspec"))
    finder.scavenge([ROOT / "metabench", ROOT / "plugins"])
    unused = [
        f"{item.filename}: {item.name}" for item in finder.get_unused_code() if "plugins" not in str(item.filename)
    ]
    assert unused == []


def definitions() -> list[tuple[str, ast.stmt]]:
    return [
        (str(path.relative_to(ROOT)), node)
        for path in (ROOT / "metabench").rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    ]


def test_no_public_name_stands_for_two_things() -> None:
    places = defaultdict(list)
    for path, node in definitions():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            places[node.name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_public_function_has_many_keywords() -> None:
    many = [
        f"{path}: {node.name}"
        for path, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and len(node.args.kwonlyargs) > MOST_KEYWORDS
    ]
    assert many == []


def sources() -> list[tuple[str, ast.Module]]:
    paths = [path for folder in ("metabench", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
    parts = [path.relative_to(ROOT) for path in paths]
    return [(str(part), ast.parse(path.read_text(encoding="utf-8"))) for part, path in zip(parts, paths, strict=True)]


def badly_opened(module: ast.Module) -> list[str]:
    """Return the first lines of docstrings, those of attributes too, that open with a question word."""
    texts = [
        node.value.value.strip()
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return [text.splitlines()[0] for text in texts if text.split()[0].strip(",:").lower() in NO_OPENINGS]


def badly_named(module: ast.Module) -> list[str]:
    """Return the names of locals and arguments that say nothing."""
    bound = [node.arg for node in ast.walk(module) if isinstance(node, ast.arg)]
    bound += [node.id for node in ast.walk(module) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return sorted(NO_NAMES & set(bound) - fields(module))


def fields(module: ast.Module) -> set[str]:
    """Return the names that are fields of classes: those go into records and JSON."""
    return {
        statement.target.id
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    assert {path: texts for path, module in sources() if (texts := badly_opened(module))} == {}


def test_names_say_what_they_hold() -> None:
    assert {path: names for path, module in sources() if (names := badly_named(module))} == {}


def test_the_rules_of_english_see_a_fault() -> None:
    module = ast.parse(
        'def f(told):\n    """What it does."""\n    for each in told:\n        pass\nX = 1\n"""Whether so."""'
    )
    assert badly_opened(module) == ["Whether so.", "What it does."]
    assert badly_named(module) == ["each", "told"]
