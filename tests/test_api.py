"""The door for plugin authors: every name is there, is listed once, and nothing else of metabench is needed."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import metabench.api

ROOT = Path(__file__).parent.parent
IMPORT = re.compile(r"(?:from|import)\s+(metabench(?:\.\w+)*)\b")


def listed():
    """Return the names and modules of the imports for type checkers, by the syntax of the file."""
    tree = ast.parse(Path(metabench.api.__file__).read_text("utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body]
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    return [(alias.name, alias.asname, node.module) for node in imports for alias in node.names]


def test_imports_for_type_checkers_are_the_names_of_the_door():
    entries = listed()
    assert len(entries) > 90
    assert [name for name, alias, _ in entries if name != alias] == []
    names = [name for name, _, _ in entries]
    assert sorted([*names, "hookimpl"]) == metabench.api.__all__
    assert len(set(names)) == len(names)
    assert {name: module for name, _, module in entries} == metabench.api._MODULES


@pytest.mark.parametrize("name", metabench.api.__all__)
def test_every_name_is_imported_from_where_it_is_defined(name):
    value = getattr(metabench.api, name)
    if inspect.isclass(value) or inspect.isfunction(value):  # not constants and type aliases
        assert value.__module__ == metabench.api._MODULES.get(name, "builtins")
    assert name in dir(metabench.api)


def test_unknown_name():
    with pytest.raises(AttributeError, match=r"module 'metabench.api' has no attribute 'nonsense'"):
        _ = metabench.api.nonsense


def test_importing_it_loads_nothing_heavy():
    code = "import sys, metabench.api; print(sorted({'torch', 'numpy', 'pandas', 'scipy', 'PIL'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def sources():
    """Return what authors copy or read: built-in plugins, templates and the pages."""
    plugins = sorted(ROOT.glob("plugins/**/*.py"))
    templates = sorted(ROOT.glob("metabench/registry/templates/**/*.j2"))
    pages = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])
    assert len(plugins) > 60 and len(templates) > 10 and len(pages) > 10
    return [*plugins, *templates, *pages]


def test_authors_need_no_other_door():
    others = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources()
        for module in IMPORT.findall(path.read_text("utf-8"))
        if module not in ("metabench.api", "metabench")
    }
    assert others == set()
