"""``metabench new``: names derived from one, templates filled in, files written that were not there.

The templates are in ``metabench/registry/templates``, `string.Template` text. For each kind, ``spec.txt`` and
``code.txt`` are the two modules of an installable package; ``loose.txt`` joins what stands below their
imports into one file.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import importlib.util
import keyword
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from metabench.errors import MetabenchError, UsageError, did_you_mean
from metabench.registry.loader import NAME

ScaffoldKind = Literal["algorithm", "dataset", "backbone", "protocol"]
KINDS: tuple[ScaffoldKind, ...] = ("algorithm", "dataset", "backbone", "protocol")
_PACKAGE = {
    "pyproject.toml": "package/pyproject.txt",
    "README.md": "package/README.txt",
    "tox.ini": "package/tox.txt",
    ".gitignore": "package/gitignore.txt",
    "src/$module/__init__.py": "$kind/spec.txt",
    "src/$module/$kind.py": "$kind/code.txt",
    "tests/test_$module.py": "package/test.txt",
}
_LOOSE = {"$module.py": "$kind/loose.txt", "test_$module.py": "test.txt"}


@dataclass(frozen=True)
class Names:
    """What is called how: ``my-algo`` is written in my_algo.py (`module`) and has the class MyAlgo (`cls`)."""

    kind: ScaffoldKind
    name: str
    module: str
    cls: str

    @property
    def slug(self) -> str:
        """The name as distributions and entry points may have it."""
        return self.module.replace("_", "-")


@dataclass(frozen=True)
class Scaffold:
    """What was written (paths as a user would type them) and the commands to go on with."""

    names: Names
    files: tuple[Path, ...]
    commands: tuple[str, ...]


def kind_named(word: str) -> ScaffoldKind:
    """Return `word` as a kind; UsageError with a suggestion where it is none."""
    for kind in KINDS:
        if word == kind:
            return kind
    raise UsageError(f"unknown kind '{word}'{did_you_mean(word, KINDS)}")


def derive(kind: ScaffoldKind, name: str) -> Names:
    """Return the names that follow from a plugin's name.

    Where a Python name is taken (a keyword, a module that can be imported, a class that the template
    uses), the kind comes before it: ``random`` is written in algorithm_random.py.

    Raises:
        UsageError: `name` is not one that a plugin may have.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be a plugin's name: use letters and digits, then also any of _.+-")
    words = [word for word in re.split(r"[_.+-]+", name) if word]
    module = "_".join(words).lower()
    if module[0].isdigit() or keyword.iskeyword(module) or importlib.util.find_spec(module):
        module = f"{kind}_{module}"
    cls = "".join(word[0].upper() + word[1:] for word in words)
    if cls[0].isdigit() or keyword.iskeyword(cls) or re.search(rf"\b{cls}\b", _template(f"{kind}/loose.txt").template):
        cls = kind.capitalize() + cls
    return Names(kind, name, module, cls)


def create(names: Names, folder: Path, package: bool) -> Scaffold:
    """Write the plugin into `folder`: one file and its test, or a package in a folder of its own.

    Raises:
        UsageError: something is there already; nothing has been written then.
        MetabenchError: a file cannot be written.
    """
    root = folder / names.slug if package else folder
    commands = _commands(names, root, package)
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


def _commands(names: Names, root: Path, package: bool) -> tuple[str, ...]:
    """Return what to type next, from the folder that the user is in."""
    if package:
        first = f"pip install -e {shlex.quote(f'./{root}' if not root.is_absolute() else str(root))}"
        return (first, *_try(names, ""))
    file, test = (shlex.quote(str(root / name)) for name in (f"{names.module}.py", f"test_{names.module}.py"))
    return (*_try(names, f" --plugin {file}"), f"pytest {test}")


def _try(names: Names, option: str) -> list[str]:
    return _template(f"{names.kind}/next.txt").substitute(name=names.name, option=option).splitlines()


def _rendered(names: Names, package: bool) -> dict[str, str]:
    """Return the text of every file by its path."""
    code = names.kind if package else ""
    words: dict[str, str] = {
        "kind": names.kind,
        "Kind": names.kind.capitalize(),
        "name": names.name,
        "module": names.module,
        "slug": names.slug,
        "cls": names.cls,
        "target": f"{names.module}{'.' if code else ''}{code}:{names.cls}",
        "version": importlib.metadata.version("metabench"),
        "commands": "\n".join(_try(names, "")),
    }
    for part in ("code", "spec"):
        words[part] = _below_imports(_filled(f"{names.kind}/{part}.txt", words))
    layout = _PACKAGE if package else _LOOSE
    return {
        Template(path).substitute(words): _filled(Template(template).substitute(words), words)
        for path, template in layout.items()
    }


def _filled(template: str, words: Mapping[str, str]) -> str:
    return _template(template).substitute(words)


def _below_imports(text: str) -> str:
    """Return what follows the last import, with no blank lines around it."""
    return text.rpartition("\nfrom ")[2].partition("\n")[2].strip("\n")


def _template(name: str) -> Template:
    return Template((importlib.resources.files("metabench.registry") / "templates" / name).read_text(encoding="utf-8"))
