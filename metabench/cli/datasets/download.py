"""``metabench datasets download``: get the official files of a dataset, and prepare it."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.datasets.class_splits import choose_dataset
from metabench.cli.datasets.verification import SplitCheck, loaded_splits
from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import echo_json
from metabench.execution.session import Session
from metabench.utils.console import Console
from metabench.utils.home import Home


@click.command("download")
@click.argument("name")
@click.option(
    "--from", "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the official files from this folder and download nothing.",
)  # fmt: skip
@json_option
@home_option
@data_option
def download_dataset(name: str, folder: Path | None, as_json: bool, home: str | None, data: str | None) -> None:
    """Get the official files of dataset NAME, and prepare and verify its splits.

    Only the default form is prepared. Other parameters need the files again: keep DIR in METABENCH_DATA.
    """
    folders, dataset = Home.resolve(home, data), choose_dataset(current_registry(), name)
    folders.ensure()
    if folder:
        folders = Home(folders.root, (folder.absolute(), *folders.sources))
    checks = []
    session = Session(folders, Console(), allow_download=folder is None)
    for split, loaded in loaded_splits(dataset, session):
        checks.append(SplitCheck(dataset.name, split, "ok", len(loaded.names), len(loaded.images)))
    if as_json:
        cache = folders.dataset_cache(dataset.spec.cache_name)
        echo_json({"name": dataset.name, "folder": str(cache), "splits": checks})
        return
    for check in checks:
        click.echo(f"{check.dataset} {check.split}: {check.classes} classes, {check.images} images")
