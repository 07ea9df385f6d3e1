"""``metabench datasets``: list, get, check and locate datasets; one file per subcommand."""

from __future__ import annotations

import click

from metabench.cli.datasets.download import download_dataset
from metabench.cli.datasets.list import list_datasets
from metabench.cli.datasets.verify import verify_datasets
from metabench.cli.datasets.where import locate_datasets


@click.group("datasets")
def datasets_group() -> None:
    """Get, prepare and check datasets."""


for _command in (list_datasets, download_dataset, verify_datasets, locate_datasets):
    datasets_group.add_command(_command)
