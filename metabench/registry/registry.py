"""Registry: the installed specs by name, and the import of the classes that they name."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

from metabench.errors import MetabenchError, MissingError, UsageError, did_you_mean
from metabench.registry.loader import PluginSet, load_plugins, one_line
from metabench.registry.local_files import LocalFile, read_files
from metabench.registry.params import Value
from metabench.registry.specs import (
    AlgorithmSpec,
    AnySpec,
    BackboneSpec,
    DatasetSpec,
    Kind,
    ProtocolSpec,
    SomeSpec,
    Spec,
    defaults,
    kind_of,
)

OneSpec = TypeVar("OneSpec", AlgorithmSpec, DatasetSpec, BackboneSpec, ProtocolSpec)


class NamedSpec(NamedTuple, Generic[SomeSpec]):
    """A spec as a user names it: ``NAME``, or ``NAME:VALUE`` with the parameter that VALUE sets."""

    spec: SomeSpec
    params: dict[str, Value]


@dataclass(frozen=True)
class Registry:
    """The specs of the installed plugins by name. A name that two plugins claim is in none of the maps."""

    algorithms: Mapping[str, AlgorithmSpec]
    datasets: Mapping[str, DatasetSpec]
    backbones: Mapping[str, BackboneSpec]
    protocols: Mapping[str, ProtocolSpec]
    plugins: PluginSet
    clashes: Mapping[tuple[Kind, str], tuple[str, ...]]
    """(kind, name) to the ``dist:name`` of every plugin that claims it."""

    def names(self, kind: Kind) -> Mapping[str, AnySpec]:
        """Return the specs of one kind by name."""
        maps: dict[Kind, Mapping[str, AnySpec]] = {
            "algorithm": self.algorithms,
            "dataset": self.datasets,
            "backbone": self.backbones,
            "protocol": self.protocols,
        }
        return maps[kind]

    @overload
    def find(self, kind: Literal["algorithm"], name: str) -> AlgorithmSpec: ...
    @overload
    def find(self, kind: Literal["dataset"], name: str) -> DatasetSpec: ...
    @overload
    def find(self, kind: Literal["backbone"], name: str) -> BackboneSpec: ...
    @overload
    def find(self, kind: Literal["protocol"], name: str) -> ProtocolSpec: ...
    @overload
    def find(self, kind: Kind, name: str) -> AnySpec: ...
    def find(self, kind: Kind, name: str) -> AnySpec:
        """Return the spec of that name; raise UsageError where no or more than one plugin provides it."""
        known = self.names(kind)
        if name in known:
            return known[name]
        if origins := self.clashes.get((kind, name)):
            raise UsageError(f"{kind} '{name}' is provided by {' and '.join(origins)}; keep one of them")
        hint = did_you_mean(name, known, "metabench list") or "; no plugin provides any"
        raise UsageError(f"unknown {kind} '{name}'{hint}{self.broken_hint}")

    @property
    def broken_hint(self) -> str:
        """Hint for an error about an unknown name: how many plugins are broken; '' if none is."""
        count = len(self.plugins.broken)
        are = "s are" if count > 1 else " is"
        return f" ({count} plugin{are} broken: see 'metabench plugins')" if count else ""

    @overload
    def choose(self, kind: Literal["algorithm"], text: str) -> NamedSpec[AlgorithmSpec]: ...
    @overload
    def choose(self, kind: Literal["dataset"], text: str) -> NamedSpec[DatasetSpec]: ...
    @overload
    def choose(self, kind: Literal["backbone"], text: str) -> NamedSpec[BackboneSpec]: ...
    @overload
    def choose(self, kind: Literal["protocol"], text: str) -> NamedSpec[ProtocolSpec]: ...
    @overload
    def choose(self, kind: Kind, text: str) -> NamedSpec[AnySpec]: ...
    def choose(self, kind: Kind, text: str) -> NamedSpec[Any]:
        """Return the spec that ``NAME``, ``NAME:VALUE`` or ``NAME/VALUE`` names, and the parameter that VALUE sets.

        Raises:
            UsageError: an unknown name, a value where none is taken, or none where one is needed.
        """
        name, *rest = re.split("([:/])", text, maxsplit=1)
        separator, value = rest or ("", "")
        if name not in self.names(kind) and _is_path(text) and (owner := self._with_path_argument(kind)):
            raise UsageError(f"unknown {kind} '{text}'. If it is a folder of your own, write {owner}:{text}")
        spec = self.find(kind, name)
        if not separator:
            if nameless(spec):
                raise UsageError(f"{kind} '{name}' needs its {spec.argument}: write {name}:{spec.argument.upper()}")
            return NamedSpec(spec, {})
        if not spec.argument:
            raise UsageError(f"{kind} '{name}' takes no ':{value}'; write {name}")
        if not value:
            raise UsageError(f"{kind} '{name}' needs its {spec.argument} after '{separator}'")
        return NamedSpec(spec, {spec.argument: value})

    def _with_path_argument(self, kind: Kind) -> str:
        """Return the name of the plugin of that kind whose argument is a path, '' where none is."""
        specs = self.names(kind).values()
        return next((s.name for s in specs if any(p.is_local_path and p.name == s.argument for p in s.params)), "")


def _is_path(text: str) -> bool:
    """Return whether a word looks like a path, or is an existing folder."""
    return text.startswith((".", "/", "~", "\\")) or os.path.isdir(text)  # noqa: PTH112 - which never raises


def load_registry(files: Iterable[Path] = ()) -> Registry:
    """Return the registry of the installed plugins and of local files; loaded once, see `clear_registry`.

    Raises:
        UsageError, MissingError: one of `files` cannot be used.
    """
    return _load_registry(read_files(files))


@functools.lru_cache(maxsize=8)
def _load_registry(files: tuple[LocalFile, ...]) -> Registry:
    plugins = load_plugins(files)
    origins: dict[tuple[Kind, str], list[str]] = {}
    for item in plugins.provided:
        origins.setdefault((item.kind, item.spec.name), []).append(item.origin)
    clashes = {key: tuple(claims) for key, claims in origins.items() if len(claims) > 1}
    sole = [item.spec for item in plugins.provided if (item.kind, item.spec.name) not in clashes]
    return Registry(
        _by_name(sole, AlgorithmSpec),
        _by_name(sole, DatasetSpec),
        _by_name(sole, BackboneSpec),
        _by_name(sole, ProtocolSpec),
        plugins,
        MappingProxyType(clashes),
    )


def clear_registry() -> None:
    """Forget the cached registry, so that the next `load_registry` sees newly installed plugins."""
    _load_registry.cache_clear()


def _by_name(specs: list[AnySpec], wanted: type[OneSpec]) -> Mapping[str, OneSpec]:
    chosen = sorted((spec for spec in specs if isinstance(spec, wanted)), key=lambda spec: spec.name)
    return MappingProxyType({spec.name: spec for spec in chosen})


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing, or a module without a spec
        return False


def availability(spec: Spec) -> str:
    """Return what `spec` needs that is not installed, and how to install it; '' if nothing is missing."""
    missing = [module for module in spec.requires if not _importable(module)]
    if not missing:
        return ""
    wanted = f"'metabench[{spec.extra}]'" if spec.extra else " ".join(missing)
    return f"needs {', '.join(missing)}; pip install {wanted}"


def nameless(spec: Spec) -> bool:
    """Return whether a spec needs a value from the user: ``NAME:VALUE``."""
    return bool(spec.argument) and not defaults(spec).get(spec.argument)


def load_target(spec: Spec) -> type:
    """Import the class that `spec` names.

    Raises:
        MissingError: a module of `spec.requires` is not installed.
        MetabenchError: the target cannot be imported or is not a class.
    """
    if reason := availability(spec):
        raise MissingError(f"{kind_of(spec)} '{spec.name}' {reason}")
    where = f"{kind_of(spec)} '{spec.name}' has the target '{spec.target}', "
    module_name, colon, attribute = spec.target.partition(":")
    if not (module_name and colon and attribute):
        raise MetabenchError(f"{where}which is not of the form 'package.module:Class'")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the plugin's own code may fail in any way
        raise MetabenchError(f"{where}which cannot be imported ({one_line(error)})") from error
    target = getattr(module, attribute, None)
    if target is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise MetabenchError(f"{where}but its module has no such class{did_you_mean(attribute, classes)}")
    if not isinstance(target, type):
        raise MetabenchError(f"{where}which is a {type(target).__name__}, not a class")
    return target
