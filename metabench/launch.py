"""Run a plan: what is known comes from the store, the rest is measured; torch is loaded only if something is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metabench.console import Console
from metabench.home import Home
from metabench.keys import content_key
from metabench.plan import RunSpec, Selection, plan
from metabench.registry import load_registry
from metabench.session import Outcome, Session
from metabench.settling import settle
from metabench.tables import Row, rows_from_records


def launch(runs: Sequence[RunSpec], session: Session) -> list[Outcome]:
    """Return the outcome of every run, in order; failed runs are outcomes too.

    All runs are checked before the first is measured.

    Raises:
        UsageError, MissingError: a run cannot be made.
        KeyboardInterrupt: the user stopped; what was measured is kept.
    """
    digests = [session.digests_of(run) for run in runs]
    _tell_pixels(runs, session)
    keys = [content_key(run.inputs(of)) for run, of in zip(runs, digests, strict=True)]
    found = [None if session.rerun else session.store.find(key) for key in keys]
    outcomes: list[Outcome | None] = [Outcome(record, True) if record else None for record in found]
    if any(outcome is None for outcome in outcomes):
        from metabench.execute import Executor  # loads torch

        executor = Executor(session)
        pending = [index for index, outcome in enumerate(outcomes) if outcome is None]
        for index in pending:
            executor.preflight(runs[index])
        for index in pending:
            outcomes[index] = executor.execute(runs[index], digests[index])
    return [outcome for outcome in outcomes if outcome is not None]


def _tell_pixels(runs: Sequence[RunSpec], session: Session) -> None:
    """Say once of each data set whose pixels are not the official ones what they are."""
    for name, pixels in {name: text for run in runs for name, text in session.pixels(run).items()}.items():
        session.console.note(f"{name}: the pixels are not the official ones but {pixels}; say so beside the numbers")


def run_selection(selection: Selection, session: Session) -> list[Outcome]:
    """Plan and launch."""
    runs = settle(plan(selection, session.registry), session, selection.query is not None)
    return launch(runs, session)


def outcome_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return one table row for each outcome."""
    cached = {item.record["key"] for item in outcomes if item.cached}
    return rows_from_records((item.record for item in outcomes), cached)


def run(
    algo: str | Sequence[str],
    shots: int | Sequence[int] = 1,
    ways: int | Sequence[int] = 5,
    dataset: str | Sequence[str] = "glyphs",
    backbone: str | Sequence[str] = (),
    seeds: int | Sequence[int] = 0,
    home: str | None = None,
    data: str | None = None,
    device: str = "auto",
    rerun: bool = False,
    quiet: bool = True,
    plugins: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> Any:
    """Run benchmarks and return a pandas DataFrame, one row per run, as ``metabench run`` prints it.

    Args:
        algo, shots, ways, dataset, backbone, seeds: one value or several; every combination is a run.
        home, data, device, rerun, quiet: as the options of ``metabench run``.
        plugins: loose plugin files, as ``--plugin``.
        options: further fields of `metabench.plan.Selection`: query, episodes, episode_seed, precision,
            protocol, checkpoint, settings.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    from metabench.tables import to_frame

    if isinstance(options.get("checkpoint"), str):
        options["checkpoint"] = Path(options["checkpoint"])
    selection = Selection(
        algorithms=_listed(algo),
        shots=_listed(shots),
        ways=_listed(ways),
        datasets=_listed(dataset),
        backbones=_listed(backbone),
        seeds=_listed(seeds),
        **options,
    )
    registry = load_registry(map(Path, _listed(plugins)))
    session = Session(Home.resolve(home, data), Console(quiet=quiet), device, rerun, registry=registry)
    outcomes = run_selection(selection, session)
    return to_frame(outcome_rows(outcomes))


def _listed(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, (str, int, Path)) else tuple(value)
