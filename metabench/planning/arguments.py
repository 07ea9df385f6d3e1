"""Arguments of the Python functions: each is converted to a plain value, or refused in one line."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench.errors import UsageError, did_you_mean
from metabench.registry.params import Value
from metabench.utils.paths import is_valid_path

Converter = Callable[[str, Any], Any]

_OTHER_NAMES = {
    "set": "settings", "algorithm": "algo", "algorithms": "algo", "datasets": "dataset", "backbones": "backbone",
    "shot": "shots", "way": "ways", "seed": "seeds", "train_episodes": "settings", "skip_bad": "settings",
    "weights": "checkpoint",
}  # fmt: skip
"""Names that people try, from the command line or elsewhere, to the argument that they mean."""


def convert_arguments(
    function: str, arguments: Mapping[str, Any], converters: Mapping[str, Converter]
) -> dict[str, Any]:
    """Return the arguments as plain values.

    Raises:
        UsageError: an unknown argument, or a value of another kind; the message names the argument.
    """
    for name, value in arguments.items():
        if name not in converters:
            raise UsageError(f"{function}() takes no {name}={_hint(name, value, converters)}")
    return {name: converters[name](name, value) for name, value in arguments.items()}


def _hint(name: str, value: Any, known: Mapping[str, Converter]) -> str:
    other = _OTHER_NAMES.get(name, "")
    if other not in known:
        return did_you_mean(name, known)
    if name in ("train_episodes", "skip_bad"):
        return f'; write settings={{"{"train.episodes" if name == "train_episodes" else "data.skip_bad"}": {value!r}}}'
    return f"; did you mean '{other}'?"


def as_text(name: str, value: Any) -> str:
    """Return text; a path or a torch.device is converted."""
    plain = str(value) if isinstance(value, Path) or type(value).__module__ == "torch" else value
    if not isinstance(plain, str):
        raise _wrong(name, "a text", value)
    return _printable(name, plain)


def as_path(name: str, value: Any) -> Path:
    """Return a path."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise _wrong(name, "a path", value)
    if not is_valid_path(os.fspath(value)):
        raise UsageError(
            f"{name} takes a path, and no file can have this one: it is too long or holds a null character"
        )
    return Path(value)


def as_paths(name: str, value: Any) -> tuple[Path, ...]:
    """Return one path or several."""
    return tuple(as_path(name, item) for item in _several(value))


def as_path_text(name: str, value: Any) -> str:
    """Return a path as text."""
    return "" if isinstance(value, str) and not value else str(as_path(name, value))


def as_names(name: str, value: Any) -> tuple[str, ...]:
    """Return one name or several."""
    several = _several(value)
    for item in several:
        if not isinstance(item, (str, Path)):
            raise UsageError(
                f"{name} takes names, not {_kind(item)}; an algorithm, dataset or backbone of your own is a plugin: "
                "'metabench new' writes its file, and plugins=FILE takes it"
            )
    return tuple(_printable(name, str(item)) for item in several)


def as_number(name: str, value: Any) -> int:
    """Return a whole number, of Python or numpy."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} takes whole numbers, not {_shown(value)}") from None


def as_numbers(name: str, value: Any) -> tuple[int, ...]:
    """Return one whole number or several."""
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) and _has_length(value)
    return tuple(as_number(name, item) for item in (value if several else (value,)))


def as_real(name: str, value: Any) -> float:
    """Return a number, of Python or numpy."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise _wrong(name, "a number", value)
    try:
        return float(plain)
    except OverflowError:
        raise UsageError(f"{name} takes a number, and this one is too large") from None


def as_flag(name: str, value: Any) -> bool:
    """Return true or false, of Python or numpy."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise _wrong(name, "True or False", value)
    return plain


def as_settings(name: str, value: Any) -> dict[str, Value]:
    """Return settings, ``scope.name`` to value."""
    if not isinstance(value, Mapping):
        raise _wrong(name, 'a dictionary such as {"train.lr": 0.001}', value)
    plain_settings: dict[str, Value] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _wrong(name, 'names such as "train.lr"', key)
        plain = str(item) if isinstance(item, Path) else _plain(item)
        if not isinstance(plain, (bool, int, float, str)):
            raise _wrong(f"{name}[{key!r}]", "a text, a number, True or False", item)
        plain_settings[_printable(name, key)] = _printable(name, plain) if isinstance(plain, str) else plain
    return plain_settings


def optional(converter: Converter) -> Converter:
    """Return a converter that lets None pass."""
    return lambda name, value: None if value is None else converter(name, value)


def _several(value: Any) -> Sequence[Any]:
    if isinstance(value, (str, Path)):
        return (value,)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable) or not _has_length(value):
        return (value,)
    return tuple(value)


def _has_length(value: Iterable[Any]) -> bool:
    """Return whether a value can be iterated over; an array without dimensions only seems so."""
    return getattr(value, "shape", None) != ()


def _plain(value: Any) -> Any:
    """Return a numpy scalar as a Python scalar."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _printable(name: str, value: str) -> str:
    """Return text; raise UsageError for text that no file can hold: a lone surrogate, or a null character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} takes text in Unicode, not {value!r}") from None
    if "\0" in value:
        raise UsageError(f"{name} takes text without null characters, not {value!r}")
    return value


def _wrong(name: str, wanted: str, value: Any) -> UsageError:
    return UsageError(f"{name} takes {wanted}, not {_kind(value)}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 and "\n" not in shown else _kind(value)
