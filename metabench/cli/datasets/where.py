"""``metabench datasets where``: the folders of datasets, and the space they take."""

from __future__ import annotations

import click

from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json
from metabench.registry.specs import DatasetSpec
from metabench.utils.home import Home


@click.command("where")
@click.argument("name", required=False)
@json_option
@home_option
@data_option
def locate_datasets(name: str | None, as_json: bool, home: str | None, data: str | None) -> None:
    """Print the folder of dataset NAME, or of every dataset with the space it takes."""
    folders, registry = Home.resolve(home, data), current_registry()
    specs = [registry.choose("dataset", name).spec] if name else list(registry.datasets.values())
    rows = [
        {"name": spec.name, "folder": str(folders.dataset_cache(spec.cache_name)), "bytes": _used_bytes(spec, folders)}
        for spec in specs
    ]
    if as_json:
        echo_json({"datasets": rows, "sources": [str(source) for source in folders.sources]})
    elif name:
        click.echo(rows[0]["folder"])
    else:
        click.echo(columns(("dataset", "folder", "bytes"), [tuple(row.values()) for row in rows]))
        sources = ", ".join(str(source) for source in folders.sources) or "none (--data, METABENCH_DATA)"
        click.echo(f"your own copies are looked for in: {cell(sources)}", err=True)


def _used_bytes(spec: DatasetSpec, folders: Home) -> int:
    """Return the bytes that the folder of a dataset takes."""
    files = (file for file in folders.dataset_cache(spec.cache_name).rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files)
