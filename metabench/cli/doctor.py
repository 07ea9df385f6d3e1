"""``metabench doctor``: check the installation, the folders and the data."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import click

from metabench.cli.datasets.class_splits import class_splits
from metabench.cli.datasets.states import YOURS, counted_states, least_usable
from metabench.cli.datasets.verification import verify_splits
from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json
from metabench.data.availability import USABLE, Presence, dataset_status
from metabench.errors import MetabenchError
from metabench.planning.suites import load_suites
from metabench.registry.loader import one_line
from metabench.registry.registry import Registry, availability, nameless
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import FOLD, DatasetSpec, defaults
from metabench.utils.home import Home
from metabench.utils.text import pluralise

_FOR_WORK = ("dev", "docs")
"""Extras for developers of metabench."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was checked.

    Attributes:
        kind: ``software``, ``device``, ``folder``, ``plugin``, ``suite`` or ``extra``; of what a plugin provides, its
            kind.
        name: its name.
        status: ``broken`` is a fault. Of a dataset the state that ``metabench datasets list`` says; of other things
            ``ok``, or ``missing`` or ``unavailable`` for what can be done without.
        detail: one line about the status.
        facts: for ``--json``; of a dataset the state of each class split, the folders it was looked for in, and whether
            it was verified.
    """

    kind: str
    name: str
    status: Presence | Literal["ok", "yours"]
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@click.command("doctor")
@json_option
@home_option
@data_option
@click.option("--verify", is_flag=True, help="Also read the available datasets in full and compare their digests.")
@click.pass_context
def doctor_command(context: click.Context, as_json: bool, home: str | None, data: str | None, verify: bool) -> None:
    """Check the installation, the home folder, the plugins, the extras and the data; exit code 1 if any is broken.

    For every dataset the table says where it is looked for, whether it is there, prepared or not, and what to do if it
    is not; class splits (folds) are counted. Nothing is decoded unless --verify is given.
    """
    place, registry = Home.resolve(home, data), current_registry()
    checks = [*_versions(), _device(), _home(place), *_plugins(registry), *_extras()]
    for spec in registry.datasets.values():
        checks.append(_dataset(spec, place, verify))
    if as_json:
        echo_json(checks)
    else:
        rows = [(check.kind, check.name, check.status, check.detail) for check in checks]
        click.echo(columns(("kind", "name", "status", "what was found"), rows))
        looked = ", ".join(map(str, place.sources)) or "none (--data, METABENCH_DATA)"
        click.echo(f"your own copies are looked for in: {cell(looked)}", err=True)
    if any(check.status == "broken" for check in checks):
        context.exit(1)


def _versions() -> Iterator[Diagnosis]:
    yield Diagnosis("software", "python", "ok", platform.python_version())
    for name in ("metabench", "torch", "numpy"):
        try:
            yield Diagnosis("software", name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Diagnosis("software", name, "broken", "not installed; pip install metabench")


def _device() -> Diagnosis:
    try:
        from metabench.runtime.devices import choose_device

        return Diagnosis("device", "auto", "ok", str(choose_device("auto")))
    except Exception as error:  # a damaged torch fails in many ways
        return Diagnosis("device", "auto", "broken", f"torch does not work ({one_line(error)}); install it again")


def _home(home: Home) -> Diagnosis:
    try:
        home.ensure()
    except MetabenchError as error:
        return Diagnosis("folder", "home", "broken", str(error))
    return Diagnosis("folder", "home", "ok", f"{home.root}, {shutil.disk_usage(home.root).free / 1e9:.1f} GB free")


def _plugins(registry: Registry) -> Iterator[Diagnosis]:
    for info in registry.plugins.infos:
        status: Literal["ok", "broken"] = "broken" if info.status == "broken" else "ok"
        yield Diagnosis("plugin", info.origin, status, info.error or ", ".join(info.provides))
    for (kind, name), origins in registry.clashes.items():
        detail = f"provided by {' and '.join(origins)}; keep one of them"
        yield Diagnosis(kind, name, "broken", detail)
    for problem in load_suites(registry)[1]:
        yield Diagnosis("suite", "", "broken", problem)
    for item in registry.plugins.provided:
        if item.kind != "dataset" and (why := availability(item.spec)):  # a dataset has a line of its own
            yield Diagnosis(item.kind, item.spec.name, "unavailable", why)


def _extras() -> Iterator[Diagnosis]:
    """Yield for each extra whether its packages are installed."""
    packages: dict[str, list[str]] = defaultdict(list)
    for line in importlib.metadata.requires("metabench") or ():
        if match := re.match(r"([A-Za-z0-9._-]+).*extra == ['\"]([A-Za-z0-9_-]+)['\"]", line):
            packages[match[2]].append(match[1])
    for extra, names in packages.items():
        if extra not in _FOR_WORK:
            missing = [name for name in names if not _installed(name)]
            why = f"needs {', '.join(missing)}; pip install 'metabench[{extra}]'"
            yield Diagnosis("extra", extra, "missing" if missing else "ok", why if missing else ", ".join(names))


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _dataset(spec: DatasetSpec, home: Home, verify: bool) -> Diagnosis:
    """Return the status of a dataset, over all of its class splits; with `verify`, check its digests too."""
    if nameless(spec):
        return Diagnosis("dataset", spec.name, YOURS, f"{spec.name}:{spec.argument.upper()}")
    splits = class_splits(ResolvedPlugin(spec, defaults(spec)))
    looks = [_class_split(chosen, home, verify) for chosen in splits]
    status, text = least_usable([look.state for look in looks]), counted_states([look.state for look in looks])
    folds = {str(chosen.params[FOLD]): look.state for chosen, look in zip(splits, looks, strict=True) if spec.folds}
    cache, verified = home.dataset_cache(spec.cache_name), {look.verified for look in looks}
    facts = {
        "folds": folds,
        "looked": [str(folder) for folder in (*home.sources, cache)],
        "folder": str(cache),
        "verified": False if False in verified else None if None in verified else True,
    }
    details = list(dict.fromkeys(look.detail for look in looks))
    if folds and len(details) > 1:
        details = [f"{FOLD} {fold}: {look.detail}" for fold, look in zip(folds, looks, strict=True)]
    counted = f"{pluralise(len(folds), 'fold')}: " if text == status else f"{text}: "
    return Diagnosis("dataset", spec.name, status, (counted if folds else "") + "; ".join(details), facts)


@dataclass(frozen=True)
class _Look:
    """State of one class split; `verified` is None where it was not verified, or there is no digest."""

    state: Presence
    detail: str
    verified: bool | None = None


def _class_split(chosen: ResolvedPlugin[DatasetSpec], home: Home, verify: bool) -> _Look:
    spec = chosen.spec
    known, cache = dataset_status(spec, chosen.params, home), home.dataset_cache(spec.cache_name)
    if known.presence in ("missing", "downloadable"):
        looked = ", ".join(map(str, (*home.sources, cache)))
        where = "" if "looked in" in known.detail else f" (looked in {looked})"
        when = " at the first use; --data DIR takes your own copy" if known.presence == "downloadable" else ""
        return _Look(known.presence, known.detail + when + where)
    if known.presence not in USABLE:
        return _Look(known.presence, known.detail)
    verified = _verified(chosen, home) if verify else _Look(known.presence, "")
    if verified.verified is False:
        return verified
    prepared = dataset_status(spec, chosen.params, home) if verify else known
    words = {"built in": "made by the code itself", "prepared": f"prepared in {cache}"}
    detail = words.get(prepared.presence, "files found; they are decoded at the first use")
    return _Look(prepared.presence, detail + verified.detail, verified.verified)


def _verified(chosen: ResolvedPlugin[DatasetSpec], home: Home) -> _Look:
    """Return the state of a class split read in full; a difference from its spec is a fault."""
    checks = list(verify_splits(chosen, home))
    faults = [check.detail for check in checks if check.failed or check.status in ("rejected", "missing")]
    if faults:
        return _Look("broken", "; ".join(faults), False)
    notes = [f"{check.split}: {check.detail}" for check in checks if check.detail]
    is_known = not any(check.status == "unverified" for check in checks)
    said = "verified" if is_known else "no digest to verify it by"
    return _Look("prepared", "; ".join([f", {said}", *notes]), is_known or None)
