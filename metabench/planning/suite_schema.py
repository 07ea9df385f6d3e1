"""What may stand in a block of a suite, and what is wrong with what does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from metabench.errors import UsageError, did_you_mean
from metabench.planning.planner import MAX_EPISODES, MAX_SEED, PRECISIONS, check_settings
from metabench.registry.loader import Kind
from metabench.registry.registry import Registry
from metabench.registry.resolved import resolve_params
from metabench.registry.specs import FIXED_WAY, SAMPLINGS
from metabench.statistics.stopping import BOUNDS

Check = Callable[[Any, Registry], Any]


class Problem(Exception):
    """What is wrong, without the name of the file."""


@dataclass(frozen=True)
class Key:
    """A key of a block: the field of `planner.Selection` that it fills, and what turns its value into that."""

    field: str
    check: Check


def _names(kind: Kind) -> Check:
    def check(value: Any, registry: Registry) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise Problem(f"must be a list of names in quotes, not {value!r}")
        for name in value:
            try:
                registry.choose(kind, name)
            except UsageError as error:
                raise Problem(str(error)) from None
        return tuple(_filled(value))

    return check


def _name(kind: Kind) -> Check:
    return lambda value, registry: _names(kind)([value] if isinstance(value, str) else value, registry)[0]


def _filled(value: list[Any]) -> list[Any]:
    if not value:
        raise Problem("is empty; leave the key out, or name something")
    return value


def _whole(value: Any, least: int, most: int | None, what: str) -> int:
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise Problem(f"must be {what} {bounds}, not {value!r}")
    return value


def _number(least: int, most: int | None = None) -> Check:
    return lambda value, registry: _whole(value, least, most, "a whole number")


def _numbers(least: int, most: int | None = None) -> Check:
    def check(value: Any, registry: Registry) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise Problem(f"must be a list of whole numbers, not {value!r}")
        return tuple(_whole(each, least, most, "a list of whole numbers") for each in _filled(value))

    return check


def _word(known: tuple[str, ...]) -> Check:
    def check(value: Any, registry: Registry) -> Any:
        if value not in known:
            raise Problem(f"must be one of {', '.join(known)}, not {value!r}")
        return value

    return check


def _points(value: Any, registry: Registry) -> float:
    if type(value) not in (int, float) or not 0 < value <= 100:
        raise Problem(f"must be a half-width in points, above 0 and at most 100, not {value!r}")
    return float(value)


def _settings(value: Any, registry: Registry) -> dict[str, Any]:
    try:
        found = _flat(value)
        check_settings(found)
    except UsageError as error:
        raise Problem(str(error).removeprefix("--set ")) from None
    return found


def _flat(value: Any, above: str = "") -> dict[str, Any]:
    """Return nested tables as one, with dotted names: ``data.size = 28`` is a table in TOML."""
    if not isinstance(value, Mapping):
        raise Problem(f"must be a table of SCOPE.NAME = VALUE, not {value!r}")
    found: dict[str, Any] = {}
    for name, each in value.items():
        if isinstance(each, Mapping):
            found |= _flat(each, f"{above}{name}.")
        elif isinstance(each, (bool, int, float, str)):
            found[above + name] = each
        else:
            raise Problem(f"{above}{name} must be a number, a word, true or false, not {each!r}")
    return found


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "datasets": Key("datasets", _names("dataset")),
        "train_dataset": Key("train_dataset", _name("dataset")),
        "backbones": Key("backbones", _names("backbone")),
        "protocols": Key("protocol", _names("protocol")),
        "ways": Key("ways", _numbers(2)),
        "shots": Key("shots", _numbers(1)),
        "query": Key("query", _number(1)),
        "episodes": Key("episodes", _number(1, MAX_EPISODES)),
        "seeds": Key("seeds", _numbers(0, MAX_SEED)),
        "episode_seed": Key("episode_seed", _number(0, MAX_SEED)),
        "sampling": Key("sampling", _word(SAMPLINGS)),
        "until_ci": Key("until_ci", _points),
        "bound": Key("bound", _word(BOUNDS)),
        "precision": Key("precision", _word(PRECISIONS)),
        "settings": Key("settings", _settings),
    }
)


def check_parameters(block: Mapping[str, Any], registry: Registry) -> None:
    """Raise Problem for a setting that nothing has which the block names, or a value that it does not take."""
    scopes: tuple[tuple[str, Kind, Any], ...] = (
        ("data", "dataset", block["datasets"]),
        ("protocol", "protocol", block.get("protocols", (FIXED_WAY,))),
        ("backbone", "backbone", block.get("backbones", ())),  # without any, the algorithms' own
    )
    for scope, kind, names in scopes:
        specs = [registry.choose(kind, name)[0] for name in names]
        for setting, value in block.get("settings", {}).items():
            param = setting.removeprefix(f"{scope}.")
            if specs and param != setting:
                having = [spec for spec in specs if param in {known.name for known in spec.params}]
                try:
                    for spec in having or specs[:1]:
                        resolve_params(spec, {param: value})
                except UsageError as error:
                    raise Problem(f"settings: {setting}: {error}") from None


def check_block(block: Mapping[str, Any], registry: Registry, known: Mapping[str, Any] = KEYS) -> dict[str, Any]:
    """Return a block with its values checked and converted, by its own keys.

    Args:
        known: what may stand there; keys that are not in `KEYS` are left to the caller.

    Raises:
        Problem: the key, and what is wrong with it.
    """
    checked = {}
    for key, value in block.items():
        if key not in known:
            raise Problem(f"unknown key '{key}'{did_you_mean(key, known)}")
        if key in KEYS:
            try:
                checked[key] = KEYS[key].check(value, registry)
            except Problem as problem:
                raise Problem(f"{key}: {problem}") from None
    return checked
