"""Settings (``--set SCOPE.NAME=VALUE``): sorted by scope and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_type_hints

from metabench.errors import UsageError, did_you_mean
from metabench.registry.params import Value
from metabench.registry.registry import NamedSpec
from metabench.registry.resolved import TYPE_NAMES, as_type, resolve_params
from metabench.registry.specs import AlgorithmSpec, AnySpec
from metabench.registry.stage import Stage, as_chain

SCOPES = ("algo", "backbone", "data", "protocol")
"""Scopes of plugins; every other one is the name of a stage of training."""
TRAIN = "train"
"""Stage of every algorithm that is trained by a single one."""
OF_ANY_BACKBONE = ("weights", "trained_on")
"""Settings that any backbone takes: a file of weights, and the data that they were trained on."""
_FLAGS = {"way": "--ways", "shot": "--shots", "query": "--query"}
_AT_LEAST_ONE = ("batch", "episodes", "epochs", "validate_every", "validation_episodes")
_UNTRAINED = ". For untrained weights use --algo nearest-mean --backbone conv4."
_NOT_SETTABLE = ("name", "objective", "params", "source")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9-]*")


def settings_by_scope(settings: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Return the settings of each scope by name; scopes beside `SCOPES` are stages, not checked here.

    Raises:
        UsageError: no scope, or a parameter that has an option of its own.
    """
    scopes: dict[str, dict[str, Value]] = {scope: {} for scope in SCOPES}
    for name, value in settings.items():
        scope, dot, rest = name.partition(".")
        if not dot or not _STAGE_NAME.fullmatch(scope):
            raise _no_scope(name, (TRAIN,))
        scopes.setdefault(scope, {})[rest] = value
    for name, flag in _FLAGS.items():
        if name in scopes["protocol"]:
            raise UsageError(f"--set protocol.{name}: use {flag}")
    return scopes


def stage_names(algorithms: Iterable[AlgorithmSpec]) -> tuple[str, ...]:
    """Return the names of the stages in any recipe of these algorithms; ``train`` where nothing is trained."""
    chains = (as_chain(recipe) for spec in algorithms for recipe in spec.recipes.values())
    return tuple(dict.fromkeys(stage.name for chain in chains for stage in chain)) or (TRAIN,)


def stage_overrides(scopes: Mapping[str, Mapping[str, Value]], known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of stages by stage and field of `Stage`, converted to its type.

    Args:
        scopes: of `settings_by_scope`.
        known: names of the stages that there are.

    Raises:
        UsageError: an unknown scope or field, or a value of another type or out of range.
    """
    of_stages = {scope: values for scope, values in scopes.items() if scope not in SCOPES}
    for scope, values in of_stages.items():
        if scope not in known:
            raise _no_scope(f"{scope}.{next(iter(values))}", known)
    return {scope: _overrides(scope, values) for scope, values in of_stages.items()}


def check_settings(settings: Mapping[str, Value], stages: Sequence[str]) -> None:
    """Raise UsageError for a setting of an unknown scope, or a bad value of one of these stages."""
    stage_overrides(settings_by_scope(settings), stages)


def check_known(scope: str, specs: Sequence[NamedSpec[AnySpec]], settings: Mapping[str, Value]) -> None:
    """Raise UsageError for a setting that none of the selected specs has, or that their names settle."""
    known = {param.name for spec, _ in specs for param in spec.params}
    for name, value in settings.items():
        if name not in known:
            resolve_params(specs[0].spec, {name: value})  # raises, with a suggestion
        having = [item for item in specs if name in {param.name for param in item.spec.params}]
        if all(name in item.params for item in having):
            spec, named = having[0]
            raise UsageError(
                f"cannot set {scope}.{name}: {spec.name}:{named[name]} settles it. Leave --set {scope}.{name} out."
            )


def _no_scope(setting: str, stages: Sequence[str]) -> UsageError:
    if setting.startswith(f"{TRAIN}."):
        option = " (--train-episodes)" if setting == f"{TRAIN}.episodes" else ""
        return UsageError(
            f"cannot set {setting}{option}: no selected algorithm has a stage '{TRAIN}'. Use --set STAGE.NAME=VALUE "
            f"with a stage of {', '.join(stages)}, or leave it out."
        )
    return UsageError(
        f"--set {setting}: write SCOPE.NAME=VALUE with a scope of {', '.join((*SCOPES, *sorted(set(stages))))}"
    )


def _overrides(scope: str, settings: Mapping[str, Value]) -> dict[str, Any]:
    types = get_type_hints(Stage)
    for name in _NOT_SETTABLE:
        del types[name]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in types:
            raise UsageError(f"--set {scope}.{name}: no such setting{did_you_mean(name, types)}")
        values[name] = _stage_value(f"{scope}.{name}", types[name], value)
    return values


def _stage_value(setting: str, wanted: type, value: Value) -> Any:
    name = setting.partition(".")[2]
    try:
        converted = as_type(bool, value) if wanted is bool else wanted(value)
        if wanted is int and converted != float(value):  # int() would cut 1.5 to 1
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(f"--set {setting} must be {TYPE_NAMES[wanted]}, not {value!r}") from None
    least = 1 if name in _AT_LEAST_ONE else 0
    if not isinstance(converted, (str, bool)) and not least <= converted < float("inf"):
        remedy = _UNTRAINED if name == "episodes" else ""
        raise UsageError(f"--set {setting} must be a number of at least {least}, not {value!r}{remedy}")
    return converted
