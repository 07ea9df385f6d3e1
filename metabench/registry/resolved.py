"""A plugin with its parameters: text from the command line becomes checked values."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from metabench.errors import UsageError, did_you_mean
from metabench.registry.params import Param, Value
from metabench.registry.specs import SomeSpec, Spec, defaults, kind_of

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


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
        result = as_type(type(param.default), value)
    except (ValueError, OverflowError):
        wanted = TYPE_NAMES[type(param.default)]
        raise UsageError(
            f"parameter '{param.name}' of {kind_of(spec)} '{spec.name}' is {wanted}, not {value!r}"
        ) from None
    if param.choices and result not in param.choices:
        choices = ", ".join(str(choice) for choice in param.choices)
        raise UsageError(
            f"parameter '{param.name}' of {kind_of(spec)} '{spec.name}' is one of {choices}, not {value!r}"
        )
    return result


def as_type(wanted: type, value: Value) -> Value:
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


def as_recorded(spec: Spec, params: Mapping[str, Value]) -> dict[str, Value]:
    """Return parameter values as records hold them: paths cut to their last part, no `omit_default` at its default."""
    local_paths = {param.name for param in spec.params if param.is_local_path}
    omitted = {param.name: param.default for param in spec.params if param.omit_default}
    return {
        name: _place_name(value) if name in local_paths and value else value
        for name, value in params.items()
        if name not in omitted or value != omitted[name]
    }


def _place_name(path: Value) -> str:
    """Return the last part of a path, however it is written."""
    return os.path.basename(os.path.abspath(os.path.expanduser(str(path))))  # noqa: PTH100, PTH111, PTH119 - no I/O


@dataclass(frozen=True)
class ResolvedPlugin(Generic[SomeSpec]):
    """A spec with a value for every one of its parameters."""

    spec: SomeSpec
    params: Mapping[str, Value]
    weights: Path | None = None
    """File of weights that a backbone starts from (``--set backbone.weights=FILE``)."""
    weights_sha256: str = ""
    trained_on: str = ""
    """Data that those weights were trained on, as the user says."""

    @property
    def name(self) -> str:
        """Its name with the value of its argument, as in ``timm:resnet18``."""
        value = self.recorded[self.spec.argument] if self.spec.argument else ""
        return f"{self.spec.name}:{value}" if value else self.spec.name

    @property
    def is_local(self) -> bool:
        """It depends on something that only this machine has: a plugin file, data, or weights."""
        return bool(self.spec.file_sha256 or self.spec.local or self.weights_sha256)

    def inputs(self) -> dict[str, Any]:
        """Return the fields that are part of a run key."""
        inputs = {"name": self.name, "version": self.spec.version, "params": self.recorded}
        if self.spec.file_sha256:
            inputs["file_sha256"] = self.spec.file_sha256
        if self.weights_sha256:
            inputs["weights_sha256"] = self.weights_sha256
        return inputs

    @property
    def identity(self) -> list[Any]:
        """Values that distinguish it from every other resolved plugin on this machine."""
        return [self.spec.name, self.spec.version, self.spec.file_sha256, dict(self.params), self.weights_sha256]

    @property
    def recorded(self) -> dict[str, Value]:
        """Parameter values as everything that may leave this machine holds them; see `as_recorded`."""
        return as_recorded(self.spec, self.params)

    @property
    def as_trained(self) -> ResolvedPlugin[SomeSpec]:
        """The same with the parameters that only score at their defaults: as it is trained, and validated."""
        scoring = {param.name: param.default for param in self.spec.params if param.scoring}
        return dataclasses.replace(self, params={**self.params, **scoring})

    @property
    def words(self) -> str:
        """Name and parameters in one line, as files of weights hold them."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.recorded.items())})"
