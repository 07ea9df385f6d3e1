"""Resolved parameters: text from the command line becomes checked values."""

from __future__ import annotations

import math
from collections.abc import Mapping

from metabench.errors import UsageError, did_you_mean
from metabench.registry.params import Param, Value
from metabench.registry.registry import kind_of
from metabench.registry.specs import Spec, defaults

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def resolve_params(spec: Spec, overrides: Mapping[str, Value]) -> dict[str, Value]:
    """Return every parameter of `spec`: its default, or the override converted to the default's type.

    Raises:
        UsageError: no such parameter, a value of the wrong type, or one that is not among the choices.
    """
    known = {param.name: param for param in spec.params}
    values: dict[str, Value] = defaults(spec)
    for name, value in overrides.items():
        if name not in known:
            hint = did_you_mean(name, known) or "; it has none"
            raise UsageError(f"{kind_of(spec)} '{spec.name}' has no parameter '{name}'{hint}")
        values[name] = _convert(spec, known[name], value)
    return values


def _convert(spec: Spec, param: Param, value: Value) -> Value:
    try:
        result = _as_type(type(param.default), value)
    except (ValueError, OverflowError):
        wanted = _TYPE_NAMES[type(param.default)]
        raise UsageError(
            f"parameter '{param.name}' of {kind_of(spec)} '{spec.name}' is {wanted}, not {value!r}"
        ) from None
    if param.choices and result not in param.choices:
        choices = ", ".join(str(choice) for choice in param.choices)
        raise UsageError(
            f"parameter '{param.name}' of {kind_of(spec)} '{spec.name}' is one of {choices}, not {value!r}"
        )
    return result


def _as_type(wanted: type, value: Value) -> Value:
    """Convert `value`; ValueError where that would change its meaning (1.5 to an int, 3 to a bool)."""
    if wanted is bool:
        word = str(value).strip().lower()
        if word not in _WORDS:
            raise ValueError
        return _WORDS[word]
    if isinstance(value, bool):  # a bool is an int in Python, but not in a parameter file
        raise ValueError
    if wanted is float:
        number = float(value)
        if not math.isfinite(number):  # JSON has no infinity, and a record must be JSON
            raise ValueError
        return number + 0.0  # minus zero becomes zero: equal parameters must have equal keys
    if wanted is int and not (isinstance(value, float) and not value.is_integer()):
        return int(value)
    if wanted is str and isinstance(value, str):
        return value
    raise ValueError
