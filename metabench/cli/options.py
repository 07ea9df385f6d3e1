"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from metabench.errors import UsageError
from metabench.utils.paths import is_folder, is_valid_path

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

home_option = click.option(
    "--home",
    metavar="DIR",
    help="Folder of the stored runs.  [default: METABENCH_HOME, else the user's data folder]",
)

data_option = click.option(
    "--data", metavar="DIR", help="Folder with your own copies of official data.  [default: METABENCH_DATA]"
)

plot_option = click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Also draw the learning curves."
)


def check_file(flag: str, path: Path | None) -> None:
    """Raise UsageError for an output file whose folder does not exist, or whose name is impossible."""
    if path is None:
        return
    if not is_folder(path.absolute().parent):
        raise UsageError(f"cannot write {flag} {path}: folder {path.absolute().parent} not found. Create it first")
    if not is_valid_path(path):
        raise UsageError(f"cannot write {flag} {path}: the file name is invalid. Use a shorter one")
    if flag == "--plot" and path.suffix.lower() != ".svg":
        raise UsageError(f"cannot write --plot {path}: pictures are SVG. Use a name that ends in .svg")


def replay_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every command that replays a record."""
    for option in reversed(
        (
            click.option(
                "--checkpoint",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="The weights, if not found by themselves.",
            ),
            click.option("--any-version", is_flag=True, help="Replay even if the record names other plugin versions."),
            click.option(
                "--device",
                metavar="DEVICE",
                help="auto, cpu, cuda or cuda:N.  [default: cpu for a record made on a CPU, else auto]",
            ),
            data_option,
            click.option("--no-download", is_flag=True, help="Never use the network."),
            click.option("--quiet", "-q", is_flag=True, help="Hide progress."),
            home_option,
            json_option,
        )
    ):
        command = option(command)
    return command
