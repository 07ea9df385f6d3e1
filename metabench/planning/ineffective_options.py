"""Refusal of options that change none of the runs: nothing that a user asks for is ignored in silence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from metabench.errors import UsageError
from metabench.planning.planner import plan_each
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec, run_of
from metabench.planning.selection import Selection
from metabench.planning.settings import SCOPES
from metabench.planning.training_chain import trains
from metabench.registry.registry import Registry


def chosen(selection: Selection) -> dict[str, Any]:
    """Return the fields of a selection that are not at their default."""
    usual = Selection(())
    fields = [field.name for field in dataclasses.fields(selection)]
    return {name: getattr(selection, name) for name in fields if getattr(selection, name) != getattr(usual, name)}


def require_effect(given: Mapping[str, Any], runs: Sequence[Planned]) -> None:
    """Raise UsageError for a choice that changes none of the runs.

    Args:
        given: fields of `Selection` that the user chose, without those that a suite settles.
        runs: the plan; rejected runs count where they would have been trained.
    """
    _require_weights_to_load(given, runs)
    if any(_is_trained(planned) for planned in runs):
        _require_stages(given.get("settings", {}), runs)
        return
    of_training = [f"--set {name}" for name in given.get("settings", {}) if name.partition(".")[0] not in SCOPES]
    of_training = [f"{name} (--train-episodes)" if name.endswith(".episodes") else name for name in of_training]
    of_training += ["--train-dataset"] if given.get("train_dataset") else []
    of_training += ["--seed"] if tuple(given.get("seeds", ())) not in ((), (0,)) else []
    if of_training:
        raise UsageError(
            f"cannot apply {of_training[0]}: {_why_untrained(given, runs)}. "
            f"Leave {', '.join(of_training)} out, or choose an --algo that is trained."
        )


def _require_stages(settings: Mapping[str, Any], runs: Sequence[Planned]) -> None:
    """Raise UsageError for a setting of a stage that no run does; whether a rejected run would is not known."""
    if any(isinstance(planned, RejectedRun) for planned in runs):
        return
    done = {stage.name for planned in runs for stage in run_of(planned).stages}
    for name in settings:
        scope, _, field = name.partition(".")
        if scope not in (*SCOPES, *done) and field != "repeat":
            raise UsageError(
                f"cannot apply --set {name}: no run does stage '{scope}', as it is repeated 0 times or trains a "
                f"backbone that learns nothing. Leave --set {name} out, or use --set {scope}.repeat=1."
            )


def require_shape(selection: Selection, runs: Sequence[Planned], registry: Registry) -> None:
    """Raise UsageError for ways or shots that neither the episodes nor the training of any run use."""
    for name, param, flag in (("ways", "way", "--ways"), ("shots", "shot", "--shots")):
        values = getattr(selection, name)
        if not values or any(param in run_of(planned).protocol.params for planned in runs):
            continue
        other: dict[str, Any] = {name: tuple(value + 1 for value in values)}
        others = dataclasses.replace(selection, **other)
        if _identities(plan_each(selection, registry)) == _identities(plan_each(others, registry)):
            protocol = run_of(runs[0]).protocol.name
            raise UsageError(f"cannot apply {flag}: protocol '{protocol}' has its own {name}. Leave {flag} out.")


def _identities(runs: Sequence[Planned]) -> list[str]:
    return [run_of(planned).identity for planned in runs]


def _is_trained(planned: Planned) -> bool:
    run = run_of(planned)
    is_trainable = run.checkpoint is None and trains(run.algorithm.spec, run.backbone.spec)
    return bool(run.stages) or (isinstance(planned, RejectedRun) and is_trainable)


def _require_weights_to_load(given: Mapping[str, Any], runs: Sequence[Planned]) -> None:
    checkpoint = given.get("checkpoint")
    if checkpoint is None or any(_loads(run_of(planned)) for planned in runs):
        return
    run = run_of(runs[0])
    raise UsageError(
        f"cannot load --checkpoint: {run.algorithm.name} learns nothing and backbone '{run.backbone.name}' has no "
        "weights. Name the backbone of the weights with --backbone."
    )


def _loads(run: RunSpec) -> bool:
    return run.checkpoint is not None or run.backbone.weights is not None


def _why_untrained(given: Mapping[str, Any], runs: Sequence[Planned]) -> str:
    if given.get("checkpoint") is not None:
        return "with --checkpoint nothing is trained"
    run = run_of(runs[0])
    algorithm, backbone = run.algorithm, run.backbone
    if trains(algorithm.spec, backbone.spec) and "train" in run.trained_on.spec.splits:
        return f"no stage of {algorithm.name} is done on backbone '{backbone.name}'"
    if trains(algorithm.spec, backbone.spec):
        return f"'{run.trained_on.name}' has no classes to train {algorithm.name} on"
    return f"nothing is trained by {algorithm.name} on backbone '{backbone.name}'"
