"""Run a plan: what is known comes from the store, the rest is measured; torch is loaded only if something is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metabench.console import Console
from metabench.errors import MetabenchError, UsageError
from metabench.home import Home
from metabench.keys import content_key
from metabench.plan import Selection, plan
from metabench.registry import load_registry
from metabench.runspec import RunSpec
from metabench.session import Outcome, Session
from metabench.settling import settle
from metabench.tables import Row, rows_from_records

if TYPE_CHECKING:
    from metabench.execute import Executor

Found = TypeVar("Found")


@dataclass(frozen=True)
class Lacking:
    """A run that could not be made, for want of something that it needs."""

    run: RunSpec
    error: MetabenchError


def launch(runs: Sequence[RunSpec], session: Session) -> list[Outcome]:
    """Return the outcome of every run, in order; failed runs are outcomes too.

    All runs are checked before the first is measured.

    Raises:
        UsageError, MissingError: a run cannot be made.
        KeyboardInterrupt: the user stopped; what was measured is kept.
    """
    found = _launch(runs, session, ())
    return [outcome for outcome in found if isinstance(outcome, Outcome)]


def attempt(runs: Sequence[RunSpec], session: Session) -> list[Outcome | Lacking]:
    """As `launch`, but a run whose data or packages are missing or damaged is told, and the others are made.

    Raises:
        UsageError, KeyboardInterrupt: as `launch`.
    """
    return _launch(runs, session, (MetabenchError,))


def _launch(
    runs: Sequence[RunSpec], session: Session, tolerated: tuple[type[MetabenchError], ...]
) -> list[Outcome | Lacking]:
    def tried(run: RunSpec, make: Callable[[], Found]) -> Found | Lacking:
        try:
            return make()
        except UsageError:
            raise
        except tolerated as error:
            return Lacking(run, error)

    found = [tried(run, partial(_stored, run, session)) for run in runs]
    _tell_pixels([run for run, each in zip(runs, found, strict=True) if not isinstance(each, Lacking)], session)
    if any(each is None for each in found):
        from metabench.execute import Executor  # loads torch

        executor = Executor(session)
        for index, run in enumerate(runs):
            if found[index] is None:
                found[index] = tried(run, partial(executor.preflight, run))
        for index, run in enumerate(runs):
            if found[index] is None:
                found[index] = tried(run, partial(_executed, run, executor))
    return [each for each in found if each is not None]


def marked(outcome: Outcome, session: Session, name: str, entry: Mapping[str, Any]) -> Outcome:
    """Say in a record's provenance what it is part of: measured now or before, it is the same run."""
    record = session.store.mark(outcome.record["key"], name, entry)
    return outcome if record is None else Outcome(record, outcome.cached)


def _stored(run: RunSpec, session: Session) -> Outcome | None:
    key = content_key(run.inputs(session.digests_of(run)))
    record = None if session.rerun else session.store.find(key)
    return Outcome(record, True) if record else None


def _executed(run: RunSpec, executor: Executor) -> Outcome:
    return executor.execute(run, executor.session.digests_of(run))


def _tell_pixels(runs: Sequence[RunSpec], session: Session) -> None:
    """Say once of each data set whose pixels are not the official ones what they are."""
    for name, pixels in {name: text for run in runs for name, text in session.pixels(run).items()}.items():
        session.console.note(f"{name}: the pixels are not the official ones but {pixels}; say so beside the numbers")


def run_selection(selection: Selection, session: Session) -> list[Outcome]:
    """Plan and launch."""
    return launch(planned(selection, session), session)


def planned(selection: Selection, session: Session) -> list[RunSpec]:
    """Return the runs of a selection, as the user's own data allow them."""
    return settle(plan(selection, session.registry), session, selection.query is not None)


def outcome_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return one table row for each outcome."""
    cached = {item.record["key"] for item in outcomes if item.cached}
    return rows_from_records((item.record for item in outcomes), cached)


def run(
    algo: str | Sequence[str],
    shots: int | Sequence[int] = (),
    ways: int | Sequence[int] = (),
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
        algo, shots, ways, dataset, backbone, seeds: one value or several; every combination is a run. Shots and ways
            are the protocol's own where they are not given, as the backbone is the algorithm's.
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
