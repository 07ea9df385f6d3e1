"""Resolved parameters: text from the command line becomes checked values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.errors import UsageError, did_you_mean
from metabench.registry.params import Param, Value
from metabench.registry.registry import kind_of
from metabench.registry.specs import Spec, as_recorded, defaults

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


@dataclass(frozen=True)
class ResolvedPlugin:
    """A spec with every one of its parameters resolved."""

    spec: Spec
    params: Mapping[str, Value]
    weights: Path | None = None
    """A file of the user's that a backbone starts from (``--set backbone.weights=FILE``)."""
    weights_sha256: str = ""
    trained_on: str = ""
    """What the user says that those weights have seen."""

    @property
    def name(self) -> str:
        """Its name with the value of its argument, as in ``timm:resnet18``."""
        value = self.recorded[self.spec.argument] if self.spec.argument else ""
        return f"{self.spec.name}:{value}" if value else self.spec.name

    def inputs(self) -> dict[str, Any]:
        """Return what goes into a run key."""
        inputs = {"name": self.name, "version": self.spec.version, "params": self.recorded}
        if self.spec.file_sha256:
            inputs["file_sha256"] = self.spec.file_sha256
        if self.weights_sha256:
            inputs["weights_sha256"] = self.weights_sha256
        return inputs

    @property
    def identity(self) -> list[Any]:
        """What tells it from every other choice on this machine."""
        return [self.spec.name, self.spec.version, self.spec.file_sha256, dict(self.params), self.weights_sha256]

    @property
    def recorded(self) -> dict[str, Value]:
        """The parameters as records and everything else that may be passed on hold them, see `as_recorded`."""
        return as_recorded(self.spec, self.params)

    @property
    def words(self) -> str:
        """Name and parameters, as files of weights hold them."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.recorded.items())})"
