"""``metabench run``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metabench import suite_tables, survey_tables
from metabench.cli.loose import current_registry
from metabench.console import Console
from metabench.environment import parse_bytes
from metabench.errors import MissingError, UsageError
from metabench.home import Home
from metabench.launch import Lacking, attempt, launch, marked, outcome_rows
from metabench.plan import EPISODES, MOST_UNTIL, PRECISIONS, RunSpec, Selection, plan
from metabench.records import write_atomic
from metabench.seed_tables import seed_rows, seeds_markdown, seeds_terminal
from metabench.session import Outcome, Session
from metabench.specs import SAMPLINGS
from metabench.stopping import BOUNDS
from metabench.suite_report import report
from metabench.suites import Suite, find_suite, plan_suite
from metabench.survey import Prospect, survey
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
@click.option("--suite", metavar="NAME|FILE", help="Measure all that a suite names; see 'metabench suites'.")
@click.option("--dataset", default="glyphs", show_default=True, callback=_names, help="Data sets.")
@click.option("--backbone", default="", callback=_names, help="Backbones.  [default: the algorithm's own]")
@click.option("--ways", default="5", show_default=True, callback=_numbers(2), help="Classes in an episode.")
@click.option("--shots", default="1", show_default=True, callback=_numbers(1), help="Support images of a class.")
@click.option("--query", default=15, show_default=True, help="Query images of a class.")
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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--max-memory", default="", help="Limit for algorithms that adapt to each task, as in 4GB.")
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(PRECISIONS), help="Numbers in the backbone."
)
@click.option("--home", help="Where results are kept.  [default: METABENCH_HOME, else the user's data folder]")
@click.option("--data", help="A folder with your own copies of data sets.  [default: METABENCH_DATA]")
@click.option("--rerun", is_flag=True, help="Measure again what is in the store (trained weights are kept).")
@click.option("--dry-run", is_flag=True, help="Only tell what is known, what is to do, what is missing, and the time.")
@click.option("--no-download", is_flag=True, help="Never use the network.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Also write the rows to a CSV file.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.pass_context
def run(context: click.Context, /, **options: Any) -> None:
    """Measure how well algorithms learn from few examples.

    Every combination of the lists is one run. A run that was made before is not made again; an
    interrupted one goes on where it stopped. With --suite, data that are missing stop only the runs that need them.
    """
    _check_output(options)
    session = _session(context, options)
    suite = find_suite(options["suite"], session.registry) if options["suite"] else None
    if suite is not None:
        runs = plan_suite(suite, options["algo"], _chosen(context, options), session.registry)
    else:
        runs = plan(Selection(**_fields(options), algorithms=options["algo"]), session.registry)
    if options["dry_run"]:
        context.exit(_tell(survey(runs, session), options))
    if suite is not None:
        context.exit(_run_suite(suite, runs, session, options))
    outcomes = launch(runs, session)
    rows = outcome_rows(outcomes)
    if options["csv_file"] is not None:
        to_csv(rows, options["csv_file"])
    click.echo(_rendered(rows, seed_rows(outcome.record for outcome in outcomes), options))
    if any(row["status"] != "ok" for row in rows):
        context.exit(1)


def _check_output(options: Mapping[str, Any]) -> None:
    """Refuse forms that cannot be written, before hours of work."""
    csv_file: Path | None = options["csv_file"]
    if options["as_json"] and options["as_markdown"]:
        raise UsageError("--json and --markdown exclude each other")
    if csv_file is not None and options["dry_run"]:
        raise UsageError("--csv and --dry-run exclude each other")
    if csv_file is not None and not csv_file.absolute().parent.is_dir():
        raise UsageError(f"--csv {csv_file}: there is no folder {csv_file.absolute().parent}")
    if csv_file is not None and csv_file.is_dir():
        raise UsageError(f"--csv {csv_file}: this is a folder; give a file in it")


def _session(context: click.Context, options: Mapping[str, Any]) -> Session:
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


def _tell(found: Sequence[Prospect], options: Mapping[str, Any]) -> int:
    """Print a survey and return the exit code: 3 where something is missing."""
    form = survey_tables.to_json(found) if options["as_json"] else survey_tables.to_text(found, options["as_markdown"])
    click.echo(form)
    return MissingError.exit_code if any(each.state == "missing" for each in found) else 0


def _run_suite(suite: Suite, runs: Sequence[RunSpec], session: Session, options: Mapping[str, Any]) -> int:
    """Measure what can be, print the report and return the exit code: 1 for a failure, else 3 for what is missing."""
    results = [
        marked(result, session, "suites", suite.provenance()) if isinstance(result, Outcome) else result
        for result in attempt(runs, session)
    ]
    found = report(runs, results)
    outcomes = [result for result in results if isinstance(result, Outcome)]
    if options["csv_file"] is not None:
        write_atomic(options["csv_file"], suite_tables.to_csv(found))
    if options["as_json"]:
        seeds = seed_rows(outcome.record for outcome in outcomes)
        click.echo(suite_tables.to_json(suite, found, outcome_rows(outcomes), seeds))
    else:
        click.echo(suite_tables.to_text(suite, found, options["as_markdown"]))
    codes = {result.error.exit_code for result in results if isinstance(result, Lacking)}
    failed = any(outcome.record["status"] != "ok" for outcome in outcomes)
    return 1 if failed else min(codes, default=0)


def _rendered(rows: Sequence[Row], seeds: Sequence[Row], options: Mapping[str, Any]) -> str:
    """Return the rows in the form asked for; where something was trained several times, with the rows over seeds."""
    if options["as_json"]:
        return to_json(rows, seeds)
    render, render_seeds = (markdown, seeds_markdown) if options["as_markdown"] else (terminal, seeds_terminal)
    several = any(len(row["seeds"]) > 1 for row in seeds)
    return "\n\n".join([render(rows), render_seeds(seeds)]) if several else render(rows)


_FIELDS = {
    "dataset": "datasets",
    "backbone": "backbones",
    **{name: name for name in (
        "ways", "shots", "query", "protocol", "episodes", "until_ci", "bound", "sampling", "seeds", "episode_seed",
        "precision", "checkpoint", "settings",
    )},
}  # fmt: skip
"""Option to the field of `Selection` that it fills."""


def _fields(options: Mapping[str, Any]) -> dict[str, Any]:
    fields = {field: options[name] for name, field in _FIELDS.items()}
    if options["train_episodes"] is not None:
        fields["settings"] = {**fields["settings"], "train.episodes": options["train_episodes"]}
    return fields


def _chosen(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that stand on the command line, which a suite must have left open."""
    default = click.core.ParameterSource.DEFAULT
    given = {field for name, field in _FIELDS.items() if context.get_parameter_source(name) is not default}
    fields = _fields(options)
    return {name: value for name, value in fields.items() if name in given or (name == "settings" and value)}
