"""Running a plan: results come from the store or are measured; torch is loaded only to measure."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from metabench.errors import MetabenchError
from metabench.execution.copy_counter import learned_from
from metabench.execution.local_data import adapt_to_data
from metabench.execution.run_data import run_digests, unofficial_pixels
from metabench.execution.session import Session
from metabench.planning.effects import chosen, require_effect, require_shape
from metabench.planning.outcome import Outcome
from metabench.planning.planner import plan_each
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec, require_valid, run_of
from metabench.planning.selection import Selection
from metabench.planning.suites import Suite, plan_suite
from metabench.records.copy_counts import copies_words, most
from metabench.records.schema import SuiteMark, SweepMark
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec, defaults
from metabench.utils.hashing import content_key

if TYPE_CHECKING:
    from metabench.execution.executor import Executor

_T = TypeVar("_T")


def launch(runs: Sequence[RunSpec], session: Session) -> list[Outcome]:
    """Return the outcome of every run, in order; failed runs are outcomes too.

    All runs are checked before the first is measured.

    Raises:
        UsageError, MissingError: a run cannot be measured.
        KeyboardInterrupt: the user stopped; what was measured is kept.
    """
    results = _launch(runs, session, None)
    return [outcome for outcome in results if isinstance(outcome, Outcome)]


def attempt(planned: Sequence[Planned], session: Session) -> list[Outcome | RejectedRun]:
    """Return the outcome of every run that can be measured, in order, and a `RejectedRun` for every other.

    A rejected run is reported when it is known to be one.

    Raises:
        KeyboardInterrupt: as `launch`.
    """
    warned: set[str] = set()

    def warn(rejected: RejectedRun) -> None:
        if (why := str(rejected.error)) not in warned:
            warned.add(why)
            session.console.warn(f"{rejected.run.label} is left out: {why}")

    return _launch(planned, session, warn)


def _launch(
    planned: Sequence[Planned], session: Session, report: Callable[[RejectedRun], None] | None
) -> list[Outcome | RejectedRun]:
    """Return the results of all runs; `report` takes those that are rejected, None raises the first error."""

    def attempted(run: RunSpec, work: Callable[[], _T]) -> _T | RejectedRun:
        try:
            return work()
        except MetabenchError as error:
            if report is None:
                raise
            return rejected(RejectedRun(run, error))

    def rejected(run: RejectedRun) -> RejectedRun:
        if report is not None:
            report(run)
        return run

    results: list[Outcome | RejectedRun | None] = [
        rejected(run) if isinstance(run, RejectedRun) else attempted(run, partial(_stored, run, session))
        for run in planned
    ]
    runs = [run_of(run) for run in planned]
    valid = [run for run, result in zip(runs, results, strict=True) if not isinstance(result, RejectedRun)]
    _note_pixels(valid, session)
    executor: Executor | None = None
    if any(result is None for result in results):
        from metabench.execution.executor import Executor  # loads torch

        executor = Executor(session)
        for index, run in enumerate(runs):
            if results[index] is None:
                results[index] = attempted(run, partial(_prepared, run, executor))
    _warn_of_copies(runs, results, session)
    if executor is not None:
        for index, run in enumerate(runs):
            if results[index] is None:
                results[index] = attempted(run, partial(executor.execute, run))
    return [result for result in results if result is not None]


def marked(outcome: Outcome, session: Session, entry: SuiteMark | SweepMark) -> Outcome:
    """Return an outcome whose record says in its provenance that it belongs to a suite or a sweep.

    Args:
        outcome: measured now or before.
        session: has the store, where the record is marked too.
    """
    record = session.store.mark(outcome.record.key, entry)
    return outcome if record is None else Outcome(record, outcome.cached)


def _stored(run: RunSpec, session: Session) -> Outcome | None:
    """Return the outcome in the store; None where the run is to be measured."""
    key = content_key(run.inputs(run_digests(run, session.loader)))
    record = None if session.rerun else session.store.find(key)
    if record is None:
        return None
    for dataset, split in ((run.dataset, run.split), *((run.trained_on, split) for split in learned_from(run))):
        if dataset.spec.local:
            session.loader.split(dataset, split)  # prepared long ago, it says again which files are left out
    return Outcome(record, True)


def _prepared(run: RunSpec, executor: Executor) -> None:
    """Refuse a run that cannot be measured, and count the copies in one that can."""
    executor.preflight(run)
    executor.session.copies.count(run)


def _note_pixels(runs: Sequence[RunSpec], session: Session) -> None:
    """Write a line for each dataset whose pixels are not the official ones."""
    texts = {name: text for run in runs for name, text in unofficial_pixels(run, session.loader).items()}
    for name, pixels in texts.items():
        session.console.note(f"{name}: the pixels are not the official ones but {pixels}; say so beside the numbers")


def _warn_of_copies(runs: Sequence[RunSpec], results: Sequence[Outcome | RejectedRun | None], session: Session) -> None:
    """Warn of each measured split that holds copies; for stored runs, as their records say."""
    counts: dict[tuple[str, str], list[Mapping[str, int]]] = defaultdict(list)
    for run, result in zip(runs, results, strict=True):
        if not isinstance(result, RejectedRun):
            of_run = session.copies.count(run) if result is None else result.record.copies
            counts[f"{run.dataset.name}, {run.split}", _verify_command(run.dataset)].append(of_run)
    for (where, command), of_runs in counts.items():
        if any(of_runs):
            words = copies_words(most(of_runs), explained=True)
            session.console.warn(f"{where}: some items are copies, {words}; '{command}' lists them")


def _verify_command(dataset: ResolvedPlugin[DatasetSpec]) -> str:
    """Return the command that lists the copies in a dataset."""
    spec, usual = dataset.spec, defaults(dataset.spec)
    name = f"{spec.name}:{dataset.params[spec.argument]}" if spec.argument else spec.name
    others = [item for item in dataset.params.items() if item[0] != spec.argument and item[1] != usual[item[0]]]
    settings = [word for name, value in others for word in ("--set", f"data.{name}={value}")]
    return shlex.join(["metabench", "datasets", "verify", name, *settings])


def run_selection(selection: Selection, session: Session) -> list[Outcome]:
    """Return the outcomes of a selection's runs."""
    return launch(planned_runs(selection, session), session)


def planned_runs(selection: Selection, session: Session) -> list[RunSpec]:
    """Return the runs of a selection, adapted to the user's own data.

    Raises:
        UsageError: one is rejected, or a choice changes no run.
    """
    query_given = selection.query is not None
    runs = require_valid(adapt_to_data(plan_each(selection, session.registry), session, query_given))
    require_effect(chosen(selection), runs)
    require_shape(selection, runs, session.registry)
    return runs


def planned_suite_runs(
    suite: Suite, algorithms: Sequence[str], given: Mapping[str, Any], session: Session
) -> list[Planned]:
    """Return the runs of a suite (see `metabench.planning.suites.plan_suite`), adapted to the user's own data."""
    planned = plan_suite(suite, algorithms, given, session.registry)
    runs = adapt_to_data(planned, session, query_given=any(block.query is not None for block in suite.blocks))
    require_effect(given, runs)
    return runs


def attempt_suite(suite: Suite, planned: Sequence[Planned], session: Session) -> list[Outcome | RejectedRun]:
    """Return what `attempt` returns, with records that name the suite."""
    mark = SuiteMark(**suite.provenance())
    return [
        marked(result, session, mark) if isinstance(result, Outcome) else result for result in attempt(planned, session)
    ]
