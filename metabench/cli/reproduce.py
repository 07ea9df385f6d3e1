"""``metabench reproduce``: replay a record and compare its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import replay_options
from metabench.cli.plugin_option import current_registry
from metabench.cli.record_argument import resolve_record
from metabench.cli.rendering import echo_json
from metabench.errors import MetabenchError
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench.utils.text import pluralise

if TYPE_CHECKING:
    from metabench.execution.session import Session
    from metabench.records.loading import NamedRecord
    from metabench.records.schema import Record

ROUNDING_SHARE = 0.005
"""Largest share of differing episodes that another processor's rounding of near ties explains."""


@click.command("reproduce")
@click.argument("record", metavar="RECORD")
@click.option(
    "--episodes", default=50, show_default=True, type=click.IntRange(1), help="Replay this many, from the first."
)
@replay_options
@click.pass_context
def reproduce_command(context: click.Context, /, record: str, as_json: bool, home: str | None, **options: Any) -> None:
    """Replay the episodes of RECORD from its weights and compare the answers.

    RECORD is the path of a record file, or the first digits of the key of a stored run. The weights are looked
    for in the folder weights/ of the record's leaderboard and in the store. Exit code 0: same answers; 1: different
    answers; 3: something needed is missing.
    """
    from metabench.execution.replay import replay_record

    named = resolve_record(record, home)
    session, weights = replay_session(named, home, options)
    result = replay_record(named.record, session, weights, options["episodes"], any_version=options["any_version"])
    if as_json:
        echo_json(_plain(named.record, result, weights))
    else:
        click.echo(_verdict(named.record, result))
    if not result.reproduced:
        if 0 < len(result.differing) <= ROUNDING_SHARE * result.episodes and result.same_episodes is not False:
            click.echo(
                "so few differences can come from rounding on another processor, which decides near ties", err=True
            )
        context.exit(1)


def replay_session(named: NamedRecord, home: str | None, options: Mapping[str, Any]) -> tuple[Session, Path | None]:
    """Return a session for replaying a record by the options of `replay_options`, and the weights of the record."""
    from metabench.execution.replay import find_weights
    from metabench.execution.session import Session

    record = named.record
    if record.status != "ok":
        raise MetabenchError(
            f"cannot replay record {record.short_key}: its run is {record.status}. Pass the record of a finished run"
        )
    folders = Home.resolve(home, options["data"])
    weights = find_weights(record, folders, named.path, options["checkpoint"])
    made_on = record.provenance.device
    session = Session(
        folders,
        Console(quiet=options["quiet"]),
        options["device"] or ("cpu" if made_on == "cpu" else "auto"),
        allow_download=not options["no_download"],
        registry=current_registry(),
    )
    return session, weights


def _plain(record: Record, result: Any, weights: Path | None) -> dict[str, Any]:
    return {
        "key": record.key,
        "reproduced": result.reproduced,
        **dataclasses.asdict(result),
        "weights": None if weights is None else weights.as_posix(),
    }


def _verdict(record: Record, result: Any) -> str:
    run = f"{record.inputs.algorithm.name} on {record.inputs.domain}, record {record.short_key}"
    if result.same_episodes is False:
        return f"differs: the images of the episodes are not those of the record ({run})"
    if result.differing:
        count = f"{len(result.differing):,} of {pluralise(result.episodes, 'episode')}"
        unit = "correct" if record.measured.is_counted else record.metric.name
        first = f"episode {result.differing[0]}, {result.here} {unit} here and {result.recorded} in the record"
        return f"differs in {count}; the first is {first} ({run})"
    if not result.reproduced:
        return f"differs: the sums by class are not those of the record ({run})"
    which = "all" if result.episodes == result.total else f"the first {result.episodes:,} of"
    return f"reproduced: {which} {pluralise(result.total, 'episode')} have the same answers ({run})"
