"""Scaffold of a plugin (``metabench new``): names derived from one, templates rendered, new files written.

The Jinja2 templates are in ``metabench/registry/templates``. For each kind, ``class.py.j2`` and ``hook.py.j2`` are
written twice: ``loose.py.j2`` joins them in one file, ``code.py.j2`` and ``spec.py.j2`` are two modules of a package.
Those of an algorithm that is trained in stages are in ``algorithm/staged``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from metabench.errors import MetabenchError, UsageError, did_you_mean
from metabench.registry.loader import PLUGIN_NAME
from metabench.registry.specs import PLUGIN_KINDS, Kind

_TEMPLATES = Environment(
    loader=PackageLoader("metabench.registry"),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_STAGED = "algorithm/staged"
_FIRST_RUN: Mapping[str, str] = {
    "algorithm": "--algo {name},protonet",
    _STAGED: "--algo {name},simpleshot",  # which shares its pre-training
    "dataset": "--algo protonet,nearest-mean --dataset {name}",
    "backbone": "--algo protonet --backbone {name},conv4",
    "protocol": "--algo nearest-mean --protocol {name}",
}


@dataclass(frozen=True)
class PluginNames:
    """PluginNames of a plugin: ``my-algo`` is in my_algo.py (`module`) and has the class MyAlgo (`cls`)."""

    kind: Kind
    name: str
    module: str
    cls: str
    templates: str
    """Folder of its templates."""

    @property
    def slug(self) -> str:
        """The name in a form that distributions and entry points may have."""
        return self.module.replace("_", "-")


@dataclass(frozen=True)
class Scaffold:
    """A plugin that was written: its files (paths as a user would type them) and the commands to try it with."""

    names: PluginNames
    files: tuple[Path, ...]
    commands: tuple[str, ...]


def kind_named(word: str) -> Kind:
    """Return `word` as a kind; raise UsageError with a suggestion where it is none."""
    for kind in PLUGIN_KINDS:
        if word == kind:
            return kind
    raise UsageError(f"unknown kind '{word}'{did_you_mean(word, PLUGIN_KINDS)}")


def derive(kind: Kind, name: str, staged: bool = False) -> PluginNames:
    """Return the names that follow from a plugin's name.

    Where a Python name is taken (a keyword, a module that can be imported, a class that the template uses), the kind
    comes before it: ``random`` is written in algorithm_random.py.

    Args:
        kind: of the plugin.
        name: as users type it.
        staged: it is trained in stages.

    Raises:
        UsageError: no plugin may have this name, or `staged` is not for this kind.
    """
    if staged and kind != "algorithm":
        raise UsageError(
            f"cannot write a {kind} in stages: only algorithms have stages of training. Leave --staged out."
        )
    templates = _STAGED if staged else kind
    if not PLUGIN_NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be a plugin's name: use letters and digits, then also any of _.+-")
    words = [word for word in re.split(r"[_.+-]+", name) if word]
    module = "_".join(words).lower()
    if module[0].isdigit() or keyword.iskeyword(module) or importlib.util.find_spec(module):
        module = f"{kind}_{module}"
    cls = "".join(word[0].upper() + word[1:] for word in words)
    if cls[0].isdigit() or keyword.iskeyword(cls) or re.search(rf"\b{cls}\b", _source(templates)):
        cls = kind.capitalize() + cls
    return PluginNames(kind, name, module, cls, templates)


def create(names: PluginNames, folder: Path, package: bool) -> Scaffold:
    """Write the plugin into `folder`: one file and its test, or a package in a folder of its own.

    Raises:
        UsageError: a file exists already; nothing has been written then.
        MetabenchError: a file cannot be written.
    """
    root = folder / names.slug if package else folder
    commands = _package_commands(names, root) if package else _file_commands(names, root)
    files = {root / path: text for path, text in _rendered(names, package).items()}
    for path in [root] if package else files:
        if path.exists():
            raise UsageError(f"{path} is already there and is left as it is; take another NAME or --dir")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        raise MetabenchError(f"cannot write {error.filename} ({error.strerror or error})") from error
    return Scaffold(names, tuple(files), commands)


def _package_commands(names: PluginNames, root: Path) -> tuple[str, ...]:
    """Return the next commands, from the folder that the user is in."""
    install = f"pip install -e {shlex.quote(str(root) if root.is_absolute() else f'./{root}')}"
    return (install, *_first_commands(names))


def _file_commands(names: PluginNames, root: Path) -> tuple[str, ...]:
    file, test = (shlex.quote(str(root / name)) for name in (f"{names.module}.py", f"test_{names.module}.py"))
    return (*_first_commands(names, f" --plugin {file}"), f"pytest {test}")


def _first_commands(names: PluginNames, option: str = "") -> list[str]:
    run = _FIRST_RUN[names.templates].format(name=names.name)
    return [f"metabench check {names.name}{option}", f"metabench run {run}{option}"]


def _rendered(names: PluginNames, package: bool) -> dict[str, str]:
    """Return the text of every file by its path."""
    module = f"{names.module}.{names.kind}" if package else names.module
    values = {
        "kind": names.kind,
        "name": names.name,
        "module": names.module,
        "slug": names.slug,
        "cls": names.cls,
        "target": f"{module}:{names.cls}",
        "version": importlib.metadata.version("metabench"),
        "commands": _first_commands(names),
    }
    templates = _package_templates(names) if package else _file_templates(names)
    return {path: _TEMPLATES.get_template(template).render(values) for path, template in templates.items()}


def _package_templates(names: PluginNames) -> dict[str, str]:
    """Return the template of every file of a package."""
    return {
        "pyproject.toml": "package/pyproject.toml.j2",
        "README.md": "package/README.md.j2",
        "tox.ini": "package/tox.ini.j2",
        ".gitignore": "package/gitignore.j2",
        f"src/{names.module}/__init__.py": f"{names.templates}/spec.py.j2",
        f"src/{names.module}/{names.kind}.py": f"{names.templates}/code.py.j2",
        f"tests/test_{names.module}.py": "package/test.py.j2",
    }


def _file_templates(names: PluginNames) -> dict[str, str]:
    """Return the templates of a plugin in one file and of its test."""
    return {f"{names.module}.py": f"{names.templates}/loose.py.j2", f"test_{names.module}.py": "test.py.j2"}


def _source(folder: str) -> str:
    """Return the text of the templates of a plugin in one file."""
    assert _TEMPLATES.loader is not None
    parts = ("loose", "class", "hook")
    return "".join(_TEMPLATES.loader.get_source(_TEMPLATES, f"{folder}/{part}.py.j2")[0] for part in parts)
