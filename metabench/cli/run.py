"""``metabench run``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metabench.cli.curve import check_file, plot_option
from metabench.cli.loose import current_registry
from metabench.console import Console
from metabench.environment import parse_bytes
from metabench.errors import NothingMeasured, UsageError
from metabench.home import Home
from metabench.launch import outcome_rows, run_selection
from metabench.learning_curves import draw, learning_curves
from metabench.plan import EPISODES, MOST_UNTIL, PRECISIONS, Selection
from metabench.records import write_atomic
from metabench.seed_tables import seed_rows, seeds_markdown, seeds_terminal
from metabench.session import Outcome, Session
from metabench.specs import SAMPLINGS
from metabench.stopping import BOUNDS
from metabench.tables import Row, markdown, terminal, to_csv, to_json


def _names(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _numbers(least: int) -> Callable[[click.Context, click.Parameter, str], tuple[int, ...]]:
    def parse(context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
        flag = option.opts[0]
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
    """Parse the values of ``--set`` options."""
    settings = {}
    for item in value:
        name, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item}: write SCOPE.NAME=VALUE, as in --set train.lr=0.0005")
        settings[name.strip()] = text.strip()
    return settings


@click.command()
@click.option("--algo", required=True, callback=_names, help="Algorithms, separated by commas.")
@click.option("--dataset", default="glyphs", show_default=True, callback=_names, help="Data sets.")
@click.option("--train-dataset", default="", metavar="NAME", help="Train and validate on this one: cross-domain.")
@click.option("--backbone", default="", callback=_names, help="Backbones.  [default: the algorithm's own]")
@click.option("--ways", default="5", show_default=True, callback=_numbers(2), help="Classes in an episode.")
@click.option("--shots", default="1", show_default=True, callback=_numbers(1), help="Support images of a class.")
@click.option("--query", type=int, help="Query images of a class.  [default: the protocol's, 15]")
@click.option(
    "--episodes", type=int, help=f"Test episodes.  [default: {EPISODES:,}; with --until-ci at most {MOST_UNTIL:,}]"
)
@click.option("--until-ci", type=float, metavar="POINTS", help="Go on until the half-width is at most this.")
@click.option(
    "--bound",
    default=BOUNDS[0],
    show_default=True,
    type=click.Choice(BOUNDS),
    help="What --until-ci goes by: narrow and valid for many episodes, or wide and valid for any number.",
)
@click.option(
    "--sampling",
    default=SAMPLINGS[0],
    show_default=True,
    type=click.Choice(SAMPLINGS),
    help="closed: each episode from all images; open: no image in two episodes, as many as there are.",
)
@click.option("--protocol", default="fixed-way", show_default=True, help="How episodes are drawn.")
@click.option("--seed", "seeds", default="0", show_default=True, callback=_numbers(0), help="Training seeds.")
@click.option("--episode-seed", default=0, show_default=True, help="Seed of the test episodes.")
@click.option("--train-episodes", type=int, help="Short for --set train.episodes=N.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Evaluate these weights; train nothing.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=parse_settings,
    metavar="SCOPE.NAME=VALUE",
    help="Set a parameter: algo.*, backbone.*, data.*, protocol.*, train.*; see 'metabench show NAME'.",
)
@click.option("--skip-bad", is_flag=True, help="Short for --set data.skip_bad=true: leave unreadable files out.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--max-memory", default="", help="Limit for algorithms that adapt to each task, as in 4GB.")
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(PRECISIONS), help="Numbers in the backbone."
)
@click.option("--home", help="Where results are kept.  [default: METABENCH_HOME, else the user's data folder]")
@click.option("--data", help="A folder with your own copies of data sets.  [default: METABENCH_DATA]")
@click.option("--rerun", is_flag=True, help="Measure again what is in the store (trained weights are kept).")
@click.option("--no-download", is_flag=True, help="Never use the network.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Also write the rows to a CSV file.")
@plot_option
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.pass_context
def run(context: click.Context, /, **options: Any) -> None:
    """Measure how well algorithms learn from few examples.

    Every combination of the lists is one run. A run that was made before is not made again; an
    interrupted one goes on where it stopped.
    """
    verbose = bool((context.find_root().params or {}).get("verbose"))
    console = Console(quiet=options["quiet"], verbose=verbose)
    if options["as_json"] and options["as_markdown"]:
        raise UsageError("--json and --markdown exclude each other")
    csv_file: Path | None = options["csv_file"]
    if csv_file is not None and not csv_file.absolute().parent.is_dir():
        raise UsageError(f"--csv {csv_file}: there is no folder {csv_file.absolute().parent}")
    if csv_file is not None and csv_file.is_dir():
        raise UsageError(f"--csv {csv_file}: this is a folder; give a file in it")
    check_file("--plot", options["plot"])
    session = Session(
        Home.resolve(options["home"], options["data"]),
        console,
        options["device"],
        rerun=options["rerun"],
        allow_download=not options["no_download"],
        registry=current_registry(),
        max_memory=parse_bytes(options["max_memory"]) if options["max_memory"] else 0,
    )
    outcomes = run_selection(_selection(options), session)
    rows = outcome_rows(outcomes)
    if csv_file is not None:
        to_csv(rows, csv_file)
    _draw(outcomes, options["plot"], console)
    click.echo(_rendered(rows, seed_rows(outcome.record for outcome in outcomes), options))
    if any(row["status"] != "ok" for row in rows):
        context.exit(1)


def _draw(outcomes: Sequence[Outcome], path: Path | None, console: Console) -> None:
    """Write what was measured as a learning curve; where it makes none, say so and go on."""
    if path is None:
        return
    try:
        write_atomic(path, draw(learning_curves(outcome.record for outcome in outcomes)).file())
        console.note(f"wrote {path}")
    except (NothingMeasured, UsageError) as error:
        console.warn(f"--plot {path}: {error}")


def _rendered(rows: Sequence[Row], seeds: Sequence[Row], options: Mapping[str, Any]) -> str:
    """Return the rows in the form asked for; where something was trained several times, with the rows over seeds."""
    if options["as_json"]:
        return to_json(rows, seeds)
    render, render_seeds = (markdown, seeds_markdown) if options["as_markdown"] else (terminal, seeds_terminal)
    several = any(len(row["seeds"]) > 1 for row in seeds)
    return "\n\n".join([render(rows), render_seeds(seeds)]) if several else render(rows)


def _selection(options: Mapping[str, Any]) -> Selection:
    settings = dict(options["settings"])
    if options["train_episodes"] is not None:
        settings["train.episodes"] = options["train_episodes"]
    if options["skip_bad"]:
        settings["data.skip_bad"] = True
    return Selection(
        algorithms=options["algo"],
        datasets=options["dataset"],
        train_dataset=options["train_dataset"],
        backbones=options["backbone"],
        ways=options["ways"],
        shots=options["shots"],
        query=options["query"],
        protocol=options["protocol"],
        episodes=options["episodes"],
        until_ci=options["until_ci"],
        bound=options["bound"],
        sampling=options["sampling"],
        seeds=options["seeds"],
        episode_seed=options["episode_seed"],
        precision=options["precision"],
        checkpoint=options["checkpoint"],
        settings=settings,
    )
