"""``metabench worst``: the worst episodes, classes and confusions of a run."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli.options import replay_options
from metabench.cli.record_argument import resolve_record
from metabench.cli.rendering import echo_json
from metabench.cli.reproduce import replay_session
from metabench.errors import UsageError
from metabench.records.copy_counts import copies_note, marked_name
from metabench.utils.text import has_or_have, pluralise


@click.command("worst")
@click.argument("record", metavar="RECORD")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Number of rows in each table.")
@replay_options
def worst_command(record: str, top: int, as_json: bool, home: str | None, **options: Any) -> None:
    """Show the worst tenth of the episodes of RECORD, the accuracy of each class, and the commonest confusions.

    RECORD is the path of a record file, or the first digits of the key of a stored run. Its episodes are replayed from
    its weights, which takes seconds if the features of the images are cached; nothing is stored.
    """
    from metabench.comparison.labels import way_shot
    from metabench.evaluation.error_analysis import ErrorAnalyzer
    from metabench.execution.replay import replay_record
    from metabench.reports.error_tables import error_document, error_text

    named = resolve_record(record, home)
    measured = named.record
    if measured.scores is not None and not measured.scores.is_counted:
        short = measured.short_key
        raise UsageError(
            f"cannot list errors of run {short}: it counts no answers. Use 'metabench show {short} --plot'"
        )
    session, weights = replay_session(named, home, options)
    analyzers: list[ErrorAnalyzer] = []

    def analyze(split: Any) -> ErrorAnalyzer:
        analyzers.append(ErrorAnalyzer(split))
        return analyzers[0]

    total = len(measured.measured)
    result = replay_record(measured, session, weights, total, any_version=options["any_version"], watcher=analyze)
    if result.differing:
        differing = len(result.differing)
        count = f"{differing:,} of {pluralise(total, 'episode')}"
        session.console.warn(f"{count} {has_or_have(differing)} different answers than in the record")
    errors = analyzers[0].result(top)
    if as_json:
        echo_json({"key": measured.key, **error_document(errors), "copies": measured.copies})
        return
    inputs = measured.inputs
    protocol = way_shot(inputs.protocol.params) or inputs.protocol.name
    dataset = marked_name(inputs.dataset.name, measured.copies)
    click.echo(f"{inputs.algorithm.name} on {dataset}, {protocol}, run {measured.short_key}\n")
    click.echo("\n".join(filter(None, (error_text(errors, top), copies_note([measured])))))
