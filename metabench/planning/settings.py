"""Settings (``--set SCOPE.NAME=VALUE``): sorted by scope, checked, and applied to training recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from metabench.errors import UsageError, did_you_mean
from metabench.registry.params import Value
from metabench.registry.recipe import Recipe
from metabench.registry.registry import NamedSpec
from metabench.registry.resolved import TYPE_NAMES, resolve_params
from metabench.registry.specs import AnySpec

SCOPES = ("algo", "backbone", "data", "protocol", "train")
OF_ANY_BACKBONE = ("weights", "trained_on")
"""Settings that any backbone takes: a file of weights, and the data that they were trained on."""
_FLAGS = {"way": "--ways", "shot": "--shots", "query": "--query"}
_AT_LEAST_ONE = ("batch", "episodes", "validate_every", "validation_episodes")
_UNTRAINED = ". For untrained weights use --algo nearest-mean --backbone conv4."


def settings_by_scope(settings: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Return the settings of each scope by name.

    Raises:
        UsageError: an unknown scope, or a parameter that has an option of its own.
    """
    scopes: dict[str, dict[str, Value]] = {scope: {} for scope in SCOPES}
    for name, value in settings.items():
        scope, dot, rest = name.partition(".")
        if not dot or scope not in scopes:
            raise UsageError(f"--set {name}: write SCOPE.NAME=VALUE with a scope of {', '.join(SCOPES)}")
        scopes[scope][rest] = value
    for name, flag in _FLAGS.items():
        if name in scopes["protocol"]:
            raise UsageError(f"--set protocol.{name}: use {flag}")
    return scopes


def recipe_overrides(settings: Mapping[str, Value]) -> dict[str, Any]:
    """Return the ``train.*`` settings by field of `Recipe`, converted to its type.

    Raises:
        UsageError: an unknown field, or a value of another type or out of range.
    """
    types = get_type_hints(Recipe)
    for name in ("params", "source"):
        del types[name]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in types:
            raise UsageError(f"--set train.{name}: no such setting{did_you_mean(name, types)}")
        values[name] = _recipe_value(name, types[name], value)
    return values


def check_settings(settings: Mapping[str, Value]) -> None:
    """Raise UsageError for an unknown scope, or a bad value of ``train.*``."""
    recipe_overrides(settings_by_scope(settings)["train"])


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


def _recipe_value(name: str, wanted: type, value: Value) -> Any:
    try:
        converted = wanted(value)
        if wanted is int and converted != float(value):  # int() would cut 1.5 to 1
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(f"--set train.{name} must be {TYPE_NAMES[wanted]}, not {value!r}") from None
    least = 1 if name in _AT_LEAST_ONE else 0
    if wanted is not str and not least <= converted < float("inf"):
        remedy = _UNTRAINED if name == "episodes" else ""
        raise UsageError(f"--set train.{name} must be a number of at least {least}, not {value!r}{remedy}")
    return converted
