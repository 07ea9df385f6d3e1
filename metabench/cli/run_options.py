"""Options shared by ``run`` and ``sweep``, and their parsing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from metabench.cli.options import check_file, data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.errors import UsageError
from metabench.execution.session import Session
from metabench.planning.forecast import NOT_MADE, RunForecast
from metabench.planning.selection import EPISODES, MOST_UNTIL, PRECISIONS
from metabench.reports.dry_run_tables import dry_run_json, dry_run_text
from metabench.runtime.memory_limits import parse_bytes
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench.utils.paths import is_folder

Command = TypeVar("Command", bound=Callable[..., Any])


def parse_names(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def parse_numbers(least: int) -> Callable[[click.Context, click.Parameter, str], tuple[int, ...]]:
    """Return a callback that parses whole numbers separated by commas; it returns () where the option is not given."""

    def parse(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
        flag = option.opts[0]
        if value is None:
            return ()
        try:
            numbers = tuple(int(word) for word in value.split(","))
        except ValueError:
            raise UsageError(f"{flag} takes whole numbers separated by commas, not '{value}'") from None
        for number in numbers:
            if number < least:
                raise UsageError(f"{flag} must be at least {least}, not {number}")
        return numbers

    return parse


def parse_settings(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """Return the settings of ``--set`` options, name to text."""
    settings = {}
    for item in value:
        name, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item}: write SCOPE.NAME=VALUE, as in --set train.lr=0.0005")
        settings[name.strip()] = text.strip()
    return settings


_SELECTION_OPTIONS = (
    click.option(
        "--dataset",
        metavar="NAME,...",
        default="glyphs",
        show_default=True,
        callback=parse_names,
        help="Datasets, separated by commas.",
    ),
    click.option(
        "--train-dataset", default="", metavar="NAME", help="Train and validate on this dataset instead (cross-domain)."
    ),
    click.option(
        "--backbone",
        metavar="NAME,...",
        default="",
        callback=parse_names,
        help="Backbones, separated by commas.  [default: the algorithm's own]",
    ),
    click.option(
        "--ways",
        metavar="N,...",
        callback=parse_numbers(2),
        help="Classes per episode, separated by commas.  [default: the protocol's, 5]",
    ),
    click.option(
        "--shots",
        metavar="N,...",
        callback=parse_numbers(1),
        help="Support images per class, separated by commas.  [default: the protocol's, 1]",
    ),
    click.option("--query", type=int, help="Query images per class.  [default: the protocol's, 15]"),
    click.option(
        "--episodes",
        type=int,
        help=f"Episodes to measure.  [default: {EPISODES:,}; with --until-ci at most {MOST_UNTIL:,}]",
    ),
    click.option(
        "--protocol",
        metavar="NAME",
        default="",
        show_default="the dataset's, fixed-way",
        help="How episodes are drawn.",
    ),
    click.option(
        "--seed",
        "seeds",
        metavar="N,...",
        default="0",
        show_default=True,
        callback=parse_numbers(0),
        help="Training seeds, separated by commas.",
    ),
    click.option("--episode-seed", default=0, show_default=True, help="Seed of the measured episodes."),
    click.option("--train-episodes", type=int, help="Short for --set train.episodes=N."),
)
_SESSION_OPTIONS = (
    click.option("--skip-bad", is_flag=True, help="Short for --set data.skip_bad=true: skip unreadable files."),
    click.option("--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--max-memory",
        metavar="SIZE",
        default="",
        help="Memory limit of algorithms that adapt to each task, such as 4GB.",
    ),
    click.option(
        "--precision",
        default="float32",
        show_default=True,
        type=click.Choice(PRECISIONS),
        help="Number format in the backbone.",
    ),
    home_option,
    data_option,
    click.option(
        "--rerun", is_flag=True, help="Measure again even if the result is in the store (trained weights are reused)."
    ),
    click.option("--no-download", is_flag=True, help="Never use the network."),
    click.option("--dry-run", is_flag=True, help="Only list which runs are stored, to do or missing, and the time."),
    json_option,
    click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table."),
    click.option(
        "--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Also write the table to a CSV file."
    ),
    click.option("--quiet", "-q", is_flag=True, help="Hide progress."),
)
_FIELDS = {"dataset": "datasets", "backbone": "backbones"} | {
    name: name
    for name in ("train_dataset", "ways", "shots", "query", "protocol", "episodes", "until_ci", "bound", "sampling",
                 "seeds", "episode_seed", "precision", "checkpoint", "settings")
}  # fmt: skip
"""Maps options to the fields of `Selection` that they fill."""


def add_selection_options(command: Command) -> Command:
    """Add the options that choose datasets, episodes and seeds."""
    return _with(_SELECTION_OPTIONS, command)


def add_session_options(command: Command) -> Command:
    """Add the options for device, folders and output."""
    return _with(_SESSION_OPTIONS, command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `Selection` that the options fill."""
    filled = {field: options[name] for name, field in _FIELDS.items() if name in options}
    if options["train_episodes"] is not None:
        if "train.episodes" in filled["settings"]:
            raise UsageError("--train-episodes and --set train.episodes exclude each other")
        filled["settings"] = {**filled["settings"], "train.episodes": options["train_episodes"]}
    if options["skip_bad"]:
        filled["settings"] = {**filled["settings"], "data.skip_bad": True}
    return filled


def typed_fields(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are given on the command line."""
    default = click.core.ParameterSource.DEFAULT
    typed = {field for name, field in _FIELDS.items() if context.get_parameter_source(name) is not default}
    filled = fields(options)
    return {name: value for name, value in filled.items() if name in typed or (name == "settings" and value)}


def check_output(options: Mapping[str, Any]) -> None:
    """Raise UsageError for output that cannot be written, before hours of work."""
    csv_file: Path | None = options["csv_file"]
    if options["as_json"] and options["as_markdown"]:
        raise UsageError("--json and --markdown exclude each other")
    for flag, name in (("--csv", "csv_file"), ("--plot", "plot"), ("--test", "test")):
        if options.get(name) and options["dry_run"]:
            raise UsageError(f"{flag} and --dry-run exclude each other")
    check_file("--csv", csv_file)
    if csv_file is not None and is_folder(csv_file):
        raise UsageError(f"cannot write --csv {csv_file}: it is a folder. Pass a file")


def session_of(context: click.Context, options: Mapping[str, Any]) -> Session:
    """Return the session that the options describe."""
    verbose = bool((context.find_root().params or {}).get("verbose"))
    return Session(
        Home.resolve(options["home"], options["data"]),
        Console(quiet=options["quiet"], verbose=verbose),
        options["device"],
        rerun=options["rerun"],
        allow_download=not options["no_download"],
        registry=current_registry(),
        max_memory=parse_bytes(options["max_memory"]) if options["max_memory"] else 0,
    )


def print_forecasts(forecasts: Sequence[RunForecast], options: Mapping[str, Any]) -> int:
    """Print a dry run and return the exit code: 3 where something is missing, 2 where runs are impossible."""
    text = dry_run_json(forecasts) if options["as_json"] else dry_run_text(forecasts, options["as_markdown"])
    click.echo(text)
    return min((NOT_MADE[run.state] for run in forecasts if run.state in NOT_MADE), default=0)
