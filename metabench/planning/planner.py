"""From a selection (the user's request) to fully resolved runs: resolve, combine, build. Pure, and free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from metabench.planning.build import build_runs, checkpoint_digest
from metabench.planning.combine import combine
from metabench.planning.resolve import resolve_request
from metabench.planning.run_spec import Planned, RunSpec, require_valid, run_of
from metabench.planning.selection import Selection
from metabench.registry.registry import Registry

AnyRun = TypeVar("AnyRun", RunSpec, Planned)


def plan(selection: Selection, registry: Registry) -> list[RunSpec]:
    """Resolve a selection into runs, in the order algorithm, dataset, backbone, way, shot, seed.

    Raises:
        UsageError: an unknown name, a bad value, a parameter that nothing selected has, incompatible parts.
    """
    return require_valid(plan_each(selection, registry))


def plan_each(selection: Selection, registry: Registry) -> list[Planned]:
    """Like `plan`, but a run with incompatible parts is returned as a `RejectedRun`, among the others.

    Raises:
        UsageError: an unknown name, a bad value, a parameter that nothing selected has.
    """
    request = resolve_request(selection, registry)
    combinations = combine(request, registry)
    sha256 = checkpoint_digest(selection.checkpoint)
    # A protocol need not have a way and a shot: several cells may then be one run.
    return distinct(run for item in combinations for run in build_runs(request, item, sha256, registry))


def distinct(runs: Iterable[AnyRun]) -> list[AnyRun]:
    """Return the runs in their order, without repetitions."""
    first: dict[str, AnyRun] = {}
    for run in runs:
        first.setdefault(run_of(run).identity, run)
    return list(first.values())
