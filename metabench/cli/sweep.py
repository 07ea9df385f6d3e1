"""``metabench sweep``: choose parameters on the validation classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from metabench.cli import run_options
from metabench.comparison.sweep_results import CandidateResult, best_of, judge, sweep_mark
from metabench.execution.dry_run import forecast_runs
from metabench.execution.launcher import launch, marked
from metabench.execution.session import Session
from metabench.planning.outcome import Outcome
from metabench.planning.selection import Selection
from metabench.planning.sweeps import Sweep, plan_sweep
from metabench.reports.rows import outcome_rows
from metabench.reports.run_tables import run_text
from metabench.reports.seed_tables import seed_rows, seed_text
from metabench.reports.sweep_tables import sweep_csv, sweep_documents, sweep_text
from metabench.reports.text_table import json_text
from metabench.utils.atomic_files import write_atomic


@click.command("sweep")
@click.option(
    "--algo",
    metavar="NAME,...",
    required=True,
    callback=run_options.parse_names,
    help="Algorithms, separated by commas.",
)
@run_options.add_selection_options
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=run_options.parse_settings,
    metavar="SCOPE.NAME=VALUES",
    help="Values to choose from, separated by commas (algo.*, backbone.*, train.*); one value sets a parameter.",
)
@click.option("--test", is_flag=True, help="Measure the chosen combination on the test classes.")
@run_options.add_session_options
@click.pass_context
def sweep_command(context: click.Context, /, **options: Any) -> None:
    """Choose parameters on the validation classes.

    Every combination of the values is trained and measured on episodes of the validation classes, separately for each
    algorithm, dataset, way and shot. The test classes are used only where --test measures the chosen combination.
    Results in the store are not measured again; a combination that fails is reported and not chosen.
    """
    run_options.check_output(options)
    session = run_options.session_of(context, options)
    fields = run_options.fields(options)
    swept = {name: [part.strip() for part in str(value).split(",")] for name, value in fields.pop("settings").items()}
    sweeps = plan_sweep(Selection(**fields, algorithms=options["algo"]), swept, session.registry)
    runs = [run for sweep in sweeps for run in sweep.runs]
    if options["dry_run"]:
        context.exit(run_options.print_forecasts(forecast_runs(runs, session), options))
    judged = _judged(sweeps, launch(runs, session))
    tests = _tested(judged, session) if options["test"] else []
    if options["csv_file"] is not None:
        write_atomic(options["csv_file"], sweep_csv(judged))
    click.echo(_rendered(judged, tests, options))
    failed = any(best_of(results) is None for _, results in judged) or any(run.record.status != "ok" for run in tests)
    context.exit(int(failed))


Judged = list[tuple[Sweep, list[CandidateResult]]]


def _judged(sweeps: Sequence[Sweep], outcomes: Sequence[Outcome]) -> Judged:
    judged, left = [], list(outcomes)
    for sweep in sweeps:
        own, left = left[: len(sweep.runs)], left[len(sweep.runs) :]
        judged.append((sweep, judge(sweep, own)))
    return judged


def _tested(judged: Judged, session: Session) -> list[Outcome]:
    """Measure the chosen candidates on the test classes; each record names the candidates it was chosen from."""
    outcomes = []
    for _, results in judged:
        if (best := best_of(results)) is not None:
            entry = sweep_mark(results, best)
            outcomes += [marked(outcome, session, entry) for outcome in launch(best.candidate.tests, session)]
    return outcomes


def _rendered(judged: Judged, tests: Sequence[Outcome], options: Mapping[str, Any]) -> str:
    rows, seeds = outcome_rows(tests), seed_rows(outcome.record for outcome in tests)
    if options["as_json"]:
        return json_text({"sweeps": sweep_documents(judged), "rows": rows, "seeds": seeds})
    markdown = options["as_markdown"]
    blocks = [sweep_text(judged, markdown)]
    if rows:
        blocks += ["chosen combinations on the test classes:", run_text(rows, markdown)]
        blocks += [seed_text(seeds, markdown)] if any(len(row["seeds"]) > 1 for row in seeds) else []
    return "\n\n".join(blocks)
