"""Draw the packages of metabench in the order in which they may import each other.

``python -m metabench.cli.generated_docs.architecture_picture > docs/architecture.svg`` draws it anew from the import
contracts of pyproject.toml and the docstrings of the packages; a test compares.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import click

from metabench.plotting.svg import Picture, label, line, polyline, shorten, tag

_LAYERS, _NO_TORCH = "layers", ["torch"]
_HIDDEN = ("__main__", "errors")
_DOOR = "Plugins import this module and nothing else of metabench. It hands on names of the packages above."
_WIDTH, _ROW, _NAME, _LEFT, _GAP = 720.0, 25.0, 104.0, 30.0, 24.0


def draw_architecture(root: Path) -> str:
    """Return the picture, an SVG file of its own.

    Args:
        root: folder with pyproject.toml and metabench/.
    """
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    order = next(contract for contract in contracts if contract["type"] == _LAYERS)
    names = [name for name in order["layers"] if name not in _HIDDEN]
    light = _torch_free(contracts)
    rows = [_row(_ROW * index, name, _summary(root, name), name in light) for index, name in enumerate(names)]
    bottom = _ROW * len(names)
    doors: list[str] = order["exhaustive_ignores"]
    bottom_of_doors = bottom + _GAP + _ROW * len(doors)
    rows += [_row(bottom + _GAP + _ROW * i, name, _summary(root, name), False) for i, name in enumerate(doors)]
    rows.append(label(_LEFT, bottom + _GAP - 6, _DOOR, "small muted"))
    arrow = line(10, 4, 10, bottom - 12, "rule") + polyline(
        [(5, bottom - 14), (15, bottom - 14), (10, bottom - 4)], "dot", True
    )
    legend = tag("rect", cls="bar", x=_LEFT, y=bottom_of_doors + 9, width=14.0, height=14.0)
    legend += label(_LEFT + 22, bottom_of_doors + 20, "imports no torch", "small muted")
    legend += label(_LEFT + 150, bottom_of_doors + 20, "A package imports only from packages below it.", "small muted")
    described = "From top to bottom, each importing only from those below: " + ", ".join(names)
    described += f". Beside them: {', '.join(doors)}. {_DOOR}"
    parts = "".join([*rows, arrow, legend])
    return Picture(_WIDTH, bottom_of_doors + 28, "Packages of metabench", described, parts).file()


def _torch_free(contracts: list[dict[str, Any]]) -> set[str]:
    """Return the packages that a contract keeps torch out of."""
    modules = [c["source_modules"] for c in contracts if c.get("forbidden_modules") == _NO_TORCH]
    return {module.removeprefix("metabench.") for part in modules for module in part}


def _summary(root: Path, name: str) -> str:
    """Return the first sentence of a package's docstring."""
    package = root / "metabench" / name
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    lines = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()
    return lines[0].replace("``", "").rstrip(".") if lines else ""


def _row(y: float, name: str, summary: str, light: bool) -> str:
    box = tag("rect", cls="bar" if light else "zone", x=_LEFT, y=y + 2, width=_NAME, height=_ROW - 4, rx=3.0)
    words = shorten(summary, _WIDTH - _LEFT - _NAME - 16)
    return box + label(_LEFT + 8, y + 17, name, "strong") + label(_LEFT + _NAME + 12, y + 17, words)


if __name__ == "__main__":
    click.echo(draw_architecture(Path()), nl=False)
