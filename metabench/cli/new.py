"""``metabench new``: write the first file of a plugin, or a whole package."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.options import json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import echo_json
from metabench.errors import UsageError
from metabench.registry.scaffold import PluginNames, create, derive, kind_named
from metabench.registry.specs import PLUGIN_KINDS


@click.command("new")
@click.argument("kind", metavar="|".join(PLUGIN_KINDS))
@click.argument("name")
@click.option("--package", is_flag=True, help="Write an installable package: entry point, README, tests, tox.")
@click.option("--staged", is_flag=True, help="Write an algorithm that is trained in stages: classes, then episodes.")
@click.option(
    "--dir", "folder", metavar="DIR", default=".", show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Output folder, created if it does not exist.",
)  # fmt: skip
@json_option
def new_command(kind: str, name: str, package: bool, staged: bool, folder: Path, as_json: bool) -> None:
    """Write a working plugin to start from: one commented file named after NAME, and its test.

    It passes 'metabench check' unchanged. Existing files are never overwritten.
    """
    names = derive(kind_named(kind), name, staged)
    _refuse_taken(names)
    scaffold = create(names, folder, package)
    if as_json:
        echo_json(
            {
                "kind": names.kind,
                "name": names.name,
                "module": names.module,
                "class": names.cls,
                "files": [str(file) for file in scaffold.files],
                "next": scaffold.commands,
            }
        )
        return
    click.echo("\n".join(f"wrote {file}" for file in scaffold.files))
    click.echo("\nnext:\n" + "\n".join(f"  {command}" for command in scaffold.commands))


def _refuse_taken(names: PluginNames) -> None:
    """Raise UsageError for a name that is taken: of two plugins with one name neither is used."""
    for item in current_registry().plugins.of(names.kind):
        if item.spec.name == names.name:
            raise UsageError(
                f"cannot create {names.kind} '{names.name}': {item.origin} has one of this name. Choose another"
            )
