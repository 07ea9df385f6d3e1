"""Loader of plugins: each on its own, so that a broken one is a line in a table and never stops another.

The entry-point loader of pluggy stops at the first plugin that fails; this one loads, registers, checks and asks
each plugin in turn.
"""

from __future__ import annotations

import copy
import importlib.metadata
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pluggy

from metabench.errors import did_you_mean
from metabench.registry import hookspecs
from metabench.registry.hookspecs import FinishedRun
from metabench.registry.local_files import LocalFile, broken, import_file, localised
from metabench.registry.specs import SPEC_CLASSES, AnySpec, Kind

GROUP = "metabench"
PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # names become folder names, so no separators


@dataclass(frozen=True)
class PluginInfo:
    """One entry point and the result of loading it; `error` is one line, empty when `status` is ok."""

    dist: str
    version: str
    entry: str
    module: str
    status: Literal["ok", "broken"]
    error: str = ""
    provides: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """``dist:name``, which names the plugin in messages."""
        return f"{self.dist}:{self.entry}"


@dataclass(frozen=True)
class Provided:
    """A spec and the plugin (``dist:name``) that provides it."""

    kind: Kind
    spec: AnySpec
    origin: str


@dataclass(frozen=True)
class SuiteFile:
    """The file of a suite, read when a suite is needed, and the plugin (``dist:name``) that provides it."""

    path: Path
    origin: str


@dataclass(frozen=True)
class PluginSet:
    """All plugins, the specs and suites of those that work, and their hooks."""

    infos: tuple[PluginInfo, ...]
    provided: tuple[Provided, ...]
    manager: pluggy.PluginManager
    suites: tuple[SuiteFile, ...] = ()

    @property
    def broken(self) -> tuple[PluginInfo, ...]:
        """The plugins that could not be used."""
        return tuple(info for info in self.infos if info.status == "broken")

    def of(self, kind: Kind) -> tuple[Provided, ...]:
        """Return everything of one kind that working plugins provide, clashing names included."""
        return tuple(item for item in self.provided if item.kind == kind)

    def run_finished(self, record: FinishedRun, path: str) -> list[str]:
        """Call the hook of every plugin for a finished run; return one warning for each that raised.

        Each plugin gets its own deep copy, so none can change the record or what others see of it.
        """
        warnings = []
        for name, plugin in self.manager.list_name_plugin():
            hook = _only(self.manager, "metabench_run_finished", plugin)
            try:
                hook(record=copy.deepcopy(record), path=path)
            except Exception as error:
                warnings.append(f"plugin {name} failed in metabench_run_finished: {one_line(error)}")
        return warnings


class _Broken(Exception):
    """A fault of a plugin, in one line."""


def one_line(error: BaseException) -> str:
    """Return ``"TypeError: its message"`` without line breaks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def load_plugins(files: Sequence[LocalFile] = ()) -> PluginSet:
    """Load, check and ask every installed plugin, whose failures are not raised, then local files.

    Raises:
        UsageError: a local file cannot be used; the user asked for it, so it is not left out.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    infos: list[PluginInfo] = []
    provided: list[Provided | SuiteFile] = []
    entries = importlib.metadata.entry_points(group=GROUP)
    for entry in sorted(entries, key=lambda entry: (_dist(entry)[0].lower(), entry.name)):
        info, items = _load(manager, entry)
        infos.append(info)
        provided.extend(items)
    for file in files:
        info, items = _load_file(manager, file)
        infos.append(info)
        provided.extend(items)
    specs = tuple(item for item in provided if isinstance(item, Provided))
    suites = tuple(item for item in provided if isinstance(item, SuiteFile))
    return PluginSet(tuple(infos), specs, manager, suites)


def _dist(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")


def _load(
    manager: pluggy.PluginManager, entry: importlib.metadata.EntryPoint
) -> tuple[PluginInfo, list[Provided | SuiteFile]]:
    dist, version = _dist(entry)
    origin = f"{dist}:{entry.name}"
    try:
        if manager.has_plugin(origin):
            raise _Broken(f"entry point '{entry.name}' is listed twice")
        items = _register(manager, entry.load(), origin)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way at all
        line = str(error) if isinstance(error, _Broken) else one_line(error)
        return PluginInfo(dist, version, entry.name, entry.value, "broken", line), []
    names = tuple(map(_name, items))
    return PluginInfo(dist, version, entry.name, entry.value, "ok", "", names), items


def _name(item: Provided | SuiteFile) -> str:
    return item.spec.name if isinstance(item, Provided) else f"suite {item.path.stem}"


def _load_file(manager: pluggy.PluginManager, file: LocalFile) -> tuple[PluginInfo, list[Provided | SuiteFile]]:
    info = PluginInfo("file", file.sha256[:12], str(file.path), file.module, "ok")
    try:
        items = _register(manager, import_file(file), info.origin)
        if not any(hook.get_hookimpls() for hook in _hooks_of(manager, info.origin)):
            raise _Broken("it has no hook; write one as in docs/plugins.md, marked with @metabench.api.hookimpl")
    except (Exception, SystemExit) as error:
        raise broken(file, error, str(error) if isinstance(error, _Broken) else one_line(error)) from error
    items = [replace(item, spec=localised(item.spec, file)) if isinstance(item, Provided) else item for item in items]
    return replace(info, provides=tuple(map(_name, items))), items


def _hooks_of(manager: pluggy.PluginManager, origin: str) -> list[pluggy.HookCaller]:
    return manager.get_hookcallers(manager.get_plugin(origin)) or []


def _register(manager: pluggy.PluginManager, plugin: object, origin: str) -> list[Provided | SuiteFile]:
    """Register a plugin and return its specs and suites; a faulty plugin is unregistered again."""
    _check_marked(manager, plugin)
    try:
        manager.register(plugin, origin)
        _check_hook_names(manager, plugin)
        specs = [item for kind in SPEC_CLASSES for item in _ask(manager, plugin, kind, origin)]
        return [*specs, *_ask_suites(manager, plugin, origin)]
    except BaseException as error:
        if manager.has_plugin(origin):
            manager.unregister(name=origin)
        if isinstance(error, pluggy.PluginValidationError):
            # pluggy's text starts with the plugin's name and has the details on lines of their own
            raise _Broken(" ".join(str(error).split("\n", 1)[-1].split())) from error
        raise


def _hook_names() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("metabench_")]


def _check_marked(manager: pluggy.PluginManager, plugin: object) -> None:
    for name in _hook_names():
        if callable(getattr(plugin, name, None)) and manager.parse_hookimpl_opts(plugin, name) is None:
            raise _Broken(f"{name} is not marked with @metabench.api.hookimpl")


def _check_hook_names(manager: pluggy.PluginManager, plugin: object) -> None:
    """Raise for an unknown hook, as ``check_pending`` of pluggy does, but for one plugin and with a suggestion."""
    for caller in manager.get_hookcallers(plugin) or []:
        optional = all(impl.optionalhook for impl in caller.get_hookimpls() if impl.plugin is plugin)
        if not caller.has_spec() and not optional:
            raise _Broken(f"unknown hook '{caller.name}'{did_you_mean(caller.name, _hook_names())}")


def _only(manager: pluggy.PluginManager, hook: str, plugin: object) -> pluggy.HookCaller:
    others = [other for other in manager.get_plugins() if other is not plugin]
    return manager.subset_hook_caller(hook, others)


def _answers(manager: pluggy.PluginManager, plugin: object, hook: str) -> list[Any]:
    """Return the items that a plugin returns from a hook."""
    caller = _only(manager, hook, plugin)
    if not caller.get_hookimpls():
        return []
    try:
        answers = caller() or [None]  # pluggy drops an answer of None
        return [item for answer in answers for item in _iterate(answer)]
    except Exception as error:
        raise _Broken(f"{hook} failed with {one_line(error)}") from error


def _ask_suites(manager: pluggy.PluginManager, plugin: object, origin: str) -> list[SuiteFile]:
    hook = "metabench_suites"
    files = _answers(manager, plugin, hook)
    for file in files:
        if not isinstance(file, (str, Path)):
            raise _Broken(f"{hook} returned a {type(file).__name__} where the path of a file is wanted")
    return [SuiteFile(Path(file), origin) for file in files]


def _ask(manager: pluggy.PluginManager, plugin: object, kind: Kind, origin: str) -> list[Provided]:
    hook, expected = f"metabench_{kind}s", SPEC_CLASSES[kind]
    specs = _answers(manager, plugin, hook)
    for spec in specs:
        if not isinstance(spec, expected):
            raise _Broken(f"{hook} returned a {type(spec).__name__} where {expected.__name__} is wanted")
        if not isinstance(spec.name, str) or not PLUGIN_NAME.fullmatch(spec.name):
            raise _Broken(f"{hook} returned the name {spec.name!r}: use letters, digits and any of _.+-")
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise _Broken(f"{hook} returned '{name}' twice")
    return [Provided(kind, spec, origin) for spec in specs]


def _iterate(answer: Any) -> Iterable[Any]:
    if isinstance(answer, (str, bytes, Mapping)) or not hasattr(answer, "__iter__"):
        raise TypeError(f"returned {type(answer).__name__}, not a list of specs")
    return list(answer)
