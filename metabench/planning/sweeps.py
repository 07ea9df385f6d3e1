"""Sweeps: parameters chosen on validation classes. Only the chosen combination is measured on the test classes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metabench.errors import UsageError
from metabench.planning.ineffective_options import chosen, require_effect, require_shape
from metabench.planning.planner import plan
from metabench.planning.run_spec import RunSpec
from metabench.planning.selection import Selection
from metabench.planning.settings import SCOPES, stage_names
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.registry.specs import VALIDATION
from metabench.utils.hashing import canonical_json

MOST_COMBINATIONS = 10_000
_FIXED = ("data", "protocol")
"""Scopes that a sweep must not vary: they change what is measured."""

Settings = Mapping[str, Value]


@dataclass(frozen=True)
class Candidate:
    """One combination of values for one task.

    Attributes:
        settings: the swept parameters that this algorithm has, ``scope.name`` to value.
        runs: on the validation classes, one for each seed.
        tests: on the test classes, executed only if the combination is chosen.
    """

    settings: Settings
    runs: tuple[RunSpec, ...]
    tests: tuple[RunSpec, ...]


@dataclass(frozen=True)
class Sweep:
    """The candidates of one algorithm on one dataset, way and shot."""

    candidates: tuple[Candidate, ...]

    @property
    def label(self) -> str:
        """Name of the task in messages."""
        return self.candidates[0].tests[0].label

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """All runs on the validation classes."""
        return tuple(run for candidate in self.candidates for run in candidate.runs)


def combinations(swept: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Return every combination of the values.

    Raises:
        UsageError: no parameter has several values, there are too many combinations, or a scope would change what is
            measured.
    """
    several = {name: tuple(dict.fromkeys(values)) for name, values in swept.items()}
    if not any(len(values) > 1 for values in several.values()):
        raise UsageError("a sweep needs a parameter with several values, as in --set algo.lr=0.1,0.4")
    for name, values in several.items():
        if len(values) > 1 and name.partition(".")[0] in _FIXED:
            raise UsageError(f"--set {name}: a sweep is over algo.*, backbone.* and stages of training, not over data")
    number = int(np.prod([len(values) for values in several.values()], dtype=object))
    if number > MOST_COMBINATIONS:
        raise UsageError(f"a sweep of {number:,} combinations is too many; at most {MOST_COMBINATIONS:,}")
    return [dict(zip(several, values, strict=True)) for values in itertools.product(*several.values())]


def plan_sweep(selection: Selection, swept: Mapping[str, Sequence[Value]], registry: Registry) -> list[Sweep]:
    """Return a sweep for every algorithm, backbone, dataset, way and shot of the selection.

    For choosing, networks are trained on the training classes alone; a recipe that also trains on the validation
    classes does so only for the test.

    Raises:
        UsageError: as `metabench.planning.planner.plan`, or no parameter has several values.
    """
    tasks: dict[str, dict[str, Candidate]] = {}
    names = [name for name, values in swept.items() if len(set(values)) > 1]
    stages = stage_names(registry.choose("algorithm", name).spec for name in selection.algorithms)
    for combination in combinations(swept):
        settings = {**selection.settings, **combination}
        whole = dataclasses.replace(selection, settings=settings)
        tests = plan(whole, registry)
        require_effect(chosen(whole), tests)
        require_shape(whole, tests, registry)
        alone = {**{f"{stage}.train_on": "train" for stage in stages}, **settings}
        runs = plan(dataclasses.replace(selection, settings=alone, split=VALIDATION), registry)
        for key, members in _by_task(runs, tests).items():
            values = {name: combination[name] for name in names if _has(members[0][0], name)}
            candidate = Candidate(values, *(tuple(part) for part in zip(*members, strict=True)))
            tasks.setdefault(key, {}).setdefault(canonical_json([run.identity for run in candidate.runs]), candidate)
    return [Sweep(tuple(candidates.values())) for candidates in tasks.values()]


def _by_task(runs: Sequence[RunSpec], tests: Sequence[RunSpec]) -> dict[str, list[tuple[RunSpec, RunSpec]]]:
    """Group runs and their tests by task; seeds stay together."""
    tasks: dict[str, list[tuple[RunSpec, RunSpec]]] = {}
    for run, test in zip(runs, tests, strict=True):
        parts = [run.algorithm.name, run.backbone.name, run.dataset.identity, run.trained_on.identity]
        tasks.setdefault(canonical_json([*parts, run.protocol.identity]), []).append((run, test))
    return tasks


def _has(run: RunSpec, setting: str) -> bool:
    """Return whether a run has a setting."""
    scope, _, name = setting.partition(".")
    if scope not in SCOPES:
        return any(stage.name == scope for stage in run.stages)
    return name in (run.algorithm if scope == "algo" else run.backbone).params
