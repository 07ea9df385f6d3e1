"""Run a plan: what is known comes from the store, the rest is measured; torch is loaded only if something is."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from metabench.errors import MetabenchError
from metabench.execution.copy_counter import learned_from
from metabench.execution.local_data import settle
from metabench.execution.session import Session
from metabench.planning.effects import chosen, require_effect, require_shape
from metabench.planning.outcome import Outcome
from metabench.planning.planner import Selection, plan_each
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec, sound, spec_of
from metabench.planning.suites import Suite, plan_suite
from metabench.records.copy_counts import copies_words, most
from metabench.records.schema import SuiteMark, SweepMark
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import defaults
from metabench.utils.hashing import content_key

if TYPE_CHECKING:
    from metabench.execution.executor import Executor

Found = TypeVar("Found")


def launch(runs: Sequence[RunSpec], session: Session) -> list[Outcome]:
    """Return the outcome of every run, in order; failed runs are outcomes too.

    All runs are checked before the first is measured.

    Raises:
        UsageError, MissingError: a run cannot be made.
        KeyboardInterrupt: the user stopped; what was measured is kept.
    """
    found = _launch(runs, session, None)
    return [outcome for outcome in found if isinstance(outcome, Outcome)]


def attempt(planned: Sequence[Planned], session: Session) -> list[Outcome | RejectedRun]:
    """As `launch`, but a run that cannot be made is told, when that is known and in the result, and the others are.

    Raises:
        KeyboardInterrupt: as `launch`.
    """
    warned: set[str] = set()

    def warn(lacking: RejectedRun) -> None:
        if (why := str(lacking.error)) not in warned:
            warned.add(why)
            session.console.warn(f"{lacking.run.label} is left out: {why}")

    return _launch(planned, session, warn)


def _launch(
    planned: Sequence[Planned], session: Session, tolerate: Callable[[RejectedRun], None] | None
) -> list[Outcome | RejectedRun]:
    def tried(run: RunSpec, make: Callable[[], Found]) -> Found | RejectedRun:
        try:
            return make()
        except MetabenchError as error:
            if tolerate is None:
                raise
            return told(RejectedRun(run, error))

    def told(lacking: RejectedRun) -> RejectedRun:
        if tolerate is not None:
            tolerate(lacking)
        return lacking

    found = [told(p) if isinstance(p, RejectedRun) else tried(p, partial(_stored, p, session)) for p in planned]
    runs = [spec_of(each) for each in planned]
    _tell_pixels([run for run, each in zip(runs, found, strict=True) if not isinstance(each, RejectedRun)], session)
    executor: Executor | None = None
    if any(each is None for each in found):
        from metabench.execution.executor import Executor  # loads torch

        executor = Executor(session)
        for index, run in enumerate(runs):
            if found[index] is None:
                found[index] = tried(run, partial(_prepared, run, executor))
    _warn_of_copies(runs, found, session)
    if executor is not None:
        for index, run in enumerate(runs):
            if found[index] is None:
                found[index] = tried(run, partial(_executed, run, executor))
    return [each for each in found if each is not None]


def marked(outcome: Outcome, session: Session, entry: SuiteMark | SweepMark) -> Outcome:
    """Say in a record's provenance what it is part of: measured now or before, it is the same run."""
    record = session.store.mark(outcome.record.key, entry)
    return outcome if record is None else Outcome(record, outcome.cached)


def _stored(run: RunSpec, session: Session) -> Outcome | None:
    key = content_key(run.inputs(session.digests_of(run)))
    record = None if session.rerun else session.store.find(key)
    if record is None:
        return None
    for dataset, split in ((run.dataset, run.split), *((run.trained_on, split) for split in learned_from(run))):
        if dataset.spec.local:
            session.split(dataset, split)  # decoded long ago, it says again which of the user's files are left out
    return Outcome(record, True)


def _prepared(run: RunSpec, executor: Executor) -> None:
    """Refuse what cannot be measured, and count the copies in what can."""
    executor.preflight(run)
    executor.session.copies(run)


def _executed(run: RunSpec, executor: Executor) -> Outcome:
    return executor.execute(run, executor.session.digests_of(run))


def _tell_pixels(runs: Sequence[RunSpec], session: Session) -> None:
    """Say once of each data set whose pixels are not the official ones what they are."""
    for name, pixels in {name: text for run in runs for name, text in session.pixels(run).items()}.items():
        session.console.note(f"{name}: the pixels are not the official ones but {pixels}; say so beside the numbers")


def _warn_of_copies(runs: Sequence[RunSpec], found: Sequence[Outcome | RejectedRun | None], session: Session) -> None:
    """Say once of each measured split that holds copies how many; of stored runs, what their records say."""
    counts: dict[tuple[str, str], list[Mapping[str, int]]] = defaultdict(list)
    for run, result in zip(runs, found, strict=True):
        if not isinstance(result, RejectedRun):
            of_run = session.copies(run) if result is None else result.record.copies
            counts[f"{run.dataset.name}, {run.split}", _verify(run.dataset)].append(of_run)
    for (where, command), of_runs in counts.items():
        if any(of_runs):
            words = copies_words(most(of_runs), explained=True)
            session.console.warn(f"{where}: some items are copies, {words}; '{command}' lists them")


def _verify(dataset: ResolvedPlugin) -> str:
    """Return the command that lists the copies in a data set."""
    spec, usual = dataset.spec, defaults(dataset.spec)
    name = f"{spec.name}:{dataset.params[spec.argument]}" if spec.argument else spec.name
    others = [item for item in dataset.params.items() if item[0] != spec.argument and item[1] != usual[item[0]]]
    settings = [word for name, value in others for word in ("--set", f"data.{name}={value}")]
    return shlex.join(["metabench", "datasets", "verify", name, *settings])


def run_selection(selection: Selection, session: Session) -> list[Outcome]:
    """Plan and launch."""
    return launch(planned(selection, session), session)


def planned(selection: Selection, session: Session) -> list[RunSpec]:
    """Return the runs of a selection, as the user's own data allow them.

    Raises:
        UsageError: one cannot be made, or something that was chosen changes none.
    """
    runs = sound(settle(plan_each(selection, session.registry), session, selection.query is not None))
    require_effect(chosen(selection), runs)
    require_shape(selection, runs, session.registry)
    return runs


def planned_suite(suite: Suite, algorithms: Sequence[str], given: Mapping[str, Any], session: Session) -> list[Planned]:
    """Return the runs of a suite, as `metabench.planning.suites.plan_suite`, as the user's own data allow them."""
    planned = plan_suite(suite, algorithms, given, session.registry)
    runs = settle(planned, session, query_given=any("query" in block for block in suite.blocks))
    require_effect(given, runs)
    return runs


def attempt_suite(suite: Suite, planned: Sequence[Planned], session: Session) -> list[Outcome | RejectedRun]:
    """As `attempt`; the records say of which suite they are."""
    mark = SuiteMark(**suite.provenance())
    return [
        marked(result, session, mark) if isinstance(result, Outcome) else result for result in attempt(planned, session)
    ]
