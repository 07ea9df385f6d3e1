"""``metabench run``: measure algorithms on few-shot episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metabench.cli import run_options
from metabench.cli.options import check_file, plot_option
from metabench.comparison.learning_curves import learning_curves
from metabench.comparison.suite_report import report
from metabench.errors import NothingMeasured, UsageError
from metabench.execution.dry_run import forecast_runs
from metabench.execution.launcher import attempt_suite, launch, planned_runs, planned_suite_runs
from metabench.execution.session import Session
from metabench.planning.outcome import Outcome
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.planning.selection import Selection
from metabench.planning.suites import Suite, find_suite
from metabench.plotting.learning_curve_plot import learning_curve_picture
from metabench.registry.specs import SAMPLINGS
from metabench.reports.rows import TableRow, outcome_rows
from metabench.reports.run_tables import run_csv, run_json, run_text, with_dataset_labels
from metabench.reports.seed_tables import seed_rows, seed_text
from metabench.reports.suite_tables import suite_csv, suite_json, suite_text
from metabench.statistics.stopping import BOUNDS
from metabench.utils.atomic_files import write_atomic
from metabench.utils.console import Console


@click.command("run")
@click.option(
    "--algo",
    metavar="NAME,...",
    required=True,
    callback=run_options.parse_names,
    help="Algorithms, separated by commas.",
)
@click.option("--suite", metavar="NAME|FILE", help="Measure everything in a suite; see 'metabench suites'.")
@run_options.add_selection_options
@click.option(
    "--until-ci", type=float, metavar="POINTS", help="Stop once the half-width of the interval is at most this."
)
@click.option(
    "--bound",
    default=BOUNDS[0],
    show_default=True,
    type=click.Choice(BOUNDS),
    help="Confidence sequence behind --until-ci: asymptotic (narrower, needs many episodes) or bernstein (wider, valid "
    "at any number).",
)
@click.option(
    "--sampling",
    default=SAMPLINGS[0],
    show_default=True,
    type=click.Choice(SAMPLINGS),
    help="closed: every episode draws from all images; open: no image is in two episodes, which limits their number.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Evaluate these weights instead of training (the backbone's, if the algorithm has none of its own).",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=run_options.parse_settings,
    metavar="SCOPE.NAME=VALUE",
    help="Set a parameter: algo.*, backbone.*, data.*, protocol.*, train.*; see 'metabench show NAME'.",
)
@run_options.add_session_options
@plot_option
@click.pass_context
def run_command(context: click.Context, /, **options: Any) -> None:
    """Measure how well algorithms learn from few examples.

    Every combination of the lists is one run. A run whose result is in the store is not measured again; an interrupted
    one continues where it stopped. In a suite, a run that cannot be executed does not stop the others.
    """
    run_options.check_output(options)
    check_file("--plot", options["plot"])
    session = run_options.session_of(context, options)
    suite = find_suite(options["suite"], session.registry) if options["suite"] else None
    if suite is not None:
        of_suite = planned_suite_runs(suite, options["algo"], run_options.typed_fields(context, options), session)
        if options["dry_run"]:
            context.exit(run_options.print_forecasts(forecast_runs(of_suite, session), options))
        context.exit(_run_suite(suite, of_suite, session, options))
    runs = planned_runs(Selection(**run_options.fields(options), algorithms=options["algo"]), session)
    if options["dry_run"]:
        context.exit(run_options.print_forecasts(forecast_runs(runs, session), options))
    context.exit(_run(runs, session, options))


def _run(runs: Sequence[RunSpec], session: Session, options: Mapping[str, Any]) -> int:
    """Measure, print the table and return the exit code."""
    outcomes = launch(runs, session)
    rows = outcome_rows(outcomes)
    if options["csv_file"] is not None:
        write_atomic(options["csv_file"], run_csv(rows))
    _draw(outcomes, options["plot"], session.console)
    _note_folders(rows, session)
    click.echo(_rendered(rows, seed_rows(outcome.record for outcome in outcomes), options))
    return int(any(row["status"] != "ok" for row in rows))


def _run_suite(suite: Suite, runs: Sequence[Planned], session: Session, options: Mapping[str, Any]) -> int:
    """Measure the executable runs, print the report and return the exit code.

    It is 1 for a failure, else 2 for incompatible settings, else 3 for something missing.
    """
    results = attempt_suite(suite, runs, session)
    summary = report(runs, results)
    outcomes = [result for result in results if isinstance(result, Outcome)]
    if options["csv_file"] is not None:
        write_atomic(options["csv_file"], suite_csv(summary))
    _draw(outcomes, options["plot"], session.console)
    if options["as_json"]:
        seeds = seed_rows(outcome.record for outcome in outcomes)
        click.echo(suite_json(suite, summary, outcome_rows(outcomes), seeds))
    else:
        click.echo(suite_text(suite, summary, options["as_markdown"]))
    codes = [result.error.exit_code for result in results if isinstance(result, RejectedRun)]
    failed = any(outcome.record.status != "ok" for outcome in outcomes)
    return 1 if failed else min(codes, default=0)


def _note_folders(rows: Sequence[TableRow], session: Session) -> None:
    """Print the folder of each dataset that shares its name with another."""
    labels = {
        label["dataset"]: row["dataset_digest"]
        for row, label in zip(rows, with_dataset_labels(rows), strict=True)
        if label["dataset"] != row["dataset"]
    }
    for label, digest in labels.items():
        for path in session.loader.places.find(digest).values():
            session.console.note(f"{label}: {path}")


def _draw(outcomes: Sequence[Outcome], path: Path | None, console: Console) -> None:
    """Write the learning curves of the outcomes as SVG; warn if they make none."""
    if path is None:
        return
    try:
        write_atomic(path, learning_curve_picture(learning_curves(outcome.record for outcome in outcomes)).file())
        console.note(f"wrote {path}")
    except (NothingMeasured, UsageError) as error:
        console.warn(f"--plot {path}: {error}")


def _rendered(rows: Sequence[TableRow], seeds: Sequence[TableRow], options: Mapping[str, Any]) -> str:
    """Return the rows as JSON, Markdown or text, with a table over seeds where a method has several."""
    if options["as_json"]:
        return run_json(rows, seeds)
    markdown = options["as_markdown"]
    several = any(len(row["seeds"]) > 1 for row in seeds)
    return "\n\n".join([run_text(rows, markdown), *([seed_text(seeds, markdown)] if several else [])])
