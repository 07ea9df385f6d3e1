"""Write the reference page of ``import metabench`` and `metabench.api`, which mkdocstrings fills from the docstrings.

``python -m metabench.cli.generated_docs.python_reference > docs/api.md`` writes it anew; a test compares.
"""

from __future__ import annotations

import click

import metabench
from metabench import api

_HEAD = """# Python

Made from the docstrings. [Use metabench](usage.md#take-the-results-elsewhere) shows how it is used from Python,
[Write an algorithm](tutorial.md) and [Hooks and specs](plugins.md) how a plugin is written.
"""
_USER = """## metabench

What `import metabench` gives a user.
"""
_AUTHOR = """## metabench.api

What a plugin imports, and nothing else of metabench. Each name is loaded when it is first asked for, so a plugin that
only declares itself loads no torch. A name that is not here may change at any time.
"""
_GROUPS = {
    "Specs": ("metabench.registry.",),
    "Errors": ("metabench.errors",),
    "Algorithms and backbones": ("metabench.models.",),
    "Protocols": (
        "metabench.episodes.",
        "metabench.utils.random_streams",
        "metabench.data.joint_split",
        "metabench.data.paired_split",
    ),
    "Datasets": ("metabench.data.",),
    "Records": ("metabench.records.",),
    "Conformance": ("metabench.testing.",),
    "Helpers": ("metabench.utils.",),
}
"""Headings, and how the modules begin whose names stand below them; the first that fits takes a name."""


def python_reference_page() -> str:
    """Return the page, Markdown."""
    parts = [_HEAD, _USER]
    parts += [_entry("metabench", name) for name in metabench.__all__ if not name.startswith("__")]
    parts.append(_AUTHOR)
    where = {name: api._MODULES.get(name, "metabench.registry.hookspecs") for name in api.__all__}
    order = list(api._MODULES)
    for heading in _GROUPS:
        names = sorted(
            (n for n in where if _group(where[n]) == heading), key=lambda n: order.index(n) if n in order else -1
        )
        parts += [f"### {heading}\n", *(_entry("metabench.api", name) for name in names)]
    return "\n".join(parts)


def _group(module: str) -> str:
    return next(heading for heading, starts in _GROUPS.items() if module.startswith(starts))


def _entry(module: str, name: str) -> str:
    return f"::: {module}.{name}\n"


if __name__ == "__main__":
    click.echo(python_reference_page(), nl=False)
