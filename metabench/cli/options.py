"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from metabench.errors import UsageError
from metabench.utils.paths import is_folder, is_possible

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


home_option = click.option(
    "--home",
    metavar="DIR",
    help="Where runs are stored (default: METABENCH_HOME, then the platform's place).",
)


plot_option = click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Draw the curves, too."
)


def check_file(flag: str, path: Path | None) -> None:
    """Raise UsageError where a file that is to be written has no folder, or a name that none can have."""
    if path is None:
        return
    if not is_folder(path.absolute().parent):
        raise UsageError(f"{flag} {path}: there is no folder {path.absolute().parent}")
    if not is_possible(path):
        raise UsageError(f"{flag} {path}: no file can have this name; give a shorter one")
    if flag == "--plot" and path.suffix.lower() != ".svg":
        raise UsageError(f"--plot {path}: pictures are SVG; give a name that ends in .svg")


def replay_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command takes that replays a record."""
    for option in reversed(
        (
            click.option("--checkpoint", type=click.Path(path_type=Path), help="The weights of the record."),
            click.option(
                "--any-version", is_flag=True, help="Use the installed versions of plugins, whatever the record's are."
            ),
            click.option(
                "--device", help="auto, cpu, cuda or cuda:N.  [default: cpu if the record was made on one, else auto]"
            ),
            click.option("--data", help="A folder with your own copies of data sets.  [default: METABENCH_DATA]"),
            click.option("--no-download", is_flag=True, help="Never use the network."),
            click.option("--quiet", "-q", is_flag=True, help="No progress."),
            home_option,
            json_option,
        )
    ):
        command = option(command)
    return command
