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

from metabench.cli.datasets.class_splits import class_split_name, class_splits
from metabench.cli.datasets.verification import verify_splits
from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json
from metabench.data.availability import USABLE, dataset_status
from metabench.errors import MetabenchError
from metabench.planning.suites import load_suites
from metabench.registry.loader import one_line
from metabench.registry.registry import Registry, availability, nameless
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec, defaults
from metabench.utils.home import Home

_FOR_WORK = ("dev", "docs")
"""Extras for developers of metabench."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was checked.

    Attributes:
        what: its name.
        status: ``missing`` for something that can be done without, ``broken`` for a fault.
        detail: one line about the status.
        facts: for ``--json``; of a dataset its state, the folders it was looked for in, and whether it was verified.
    """

    what: str
    status: Literal["ok", "missing", "broken"]
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

    For every dataset and class split (fold) the table says where it is looked for, whether it is there, prepared or
    not, and what to do if it is not. Nothing is decoded unless --verify is given.
    """
    place, registry = Home.resolve(home, data), current_registry()
    checks = [*_versions(), _device(), _home(place), *_plugins(registry), *_extras()]
    for spec in registry.datasets.values():
        checks += [_dataset(form, place, verify) for form in class_splits(ResolvedPlugin(spec, defaults(spec)))]
    if as_json:
        echo_json(checks)
    else:
        click.echo(columns(("check", "status", "what was found"), [(c.what, c.status, c.detail) for c in checks]))
        looked = ", ".join(map(str, place.sources)) or "none (--data, METABENCH_DATA)"
        click.echo(f"your own copies are looked for in: {cell(looked)}", err=True)
    if any(check.status == "broken" for check in checks):
        context.exit(1)


def _versions() -> Iterator[Diagnosis]:
    yield Diagnosis("python", "ok", platform.python_version())
    for name in ("metabench", "torch", "numpy"):
        try:
            yield Diagnosis(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Diagnosis(name, "broken", "not installed; pip install metabench")


def _device() -> Diagnosis:
    try:
        from metabench.runtime.devices import choose_device

        return Diagnosis("device", "ok", str(choose_device("auto")))
    except Exception as error:  # a damaged torch fails in many ways
        return Diagnosis("device", "broken", f"torch does not work ({one_line(error)}); install it again")


def _home(home: Home) -> Diagnosis:
    try:
        home.ensure()
    except MetabenchError as error:
        return Diagnosis("home", "broken", str(error))
    return Diagnosis("home", "ok", f"{home.root}, {shutil.disk_usage(home.root).free / 1e9:.1f} GB free")


def _plugins(registry: Registry) -> Iterator[Diagnosis]:
    for info in registry.plugins.infos:
        status: Literal["ok", "broken"] = "broken" if info.status == "broken" else "ok"
        yield Diagnosis(f"plugin {info.origin}", status, info.error or ", ".join(info.provides))
    for (kind, name), origins in registry.clashes.items():
        detail = f"provided by {' and '.join(origins)}; keep one of them"
        yield Diagnosis(f"{kind} {name}", "broken", detail)
    for problem in load_suites(registry)[1]:
        yield Diagnosis("suite", "broken", problem)
    for item in registry.plugins.provided:
        if why := availability(item.spec):
            yield Diagnosis(f"{item.kind} {item.spec.name}", "missing", why)


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
            yield Diagnosis(f"extra {extra}", "missing" if missing else "ok", why if missing else ", ".join(names))


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _dataset(chosen: ResolvedPlugin[DatasetSpec], home: Home, verify: bool) -> Diagnosis:
    """Return the status of a dataset; with `verify`, check its digests too."""
    spec = chosen.spec
    what, cache = f"data set {class_split_name(chosen)}", home.dataset_cache(spec.cache_name)
    if nameless(spec):
        return Diagnosis(what, "ok", f"yours: {spec.name}:{spec.argument.upper()}", {"state": "yours"})
    known = dataset_status(spec, chosen.params, home)
    looked = [str(folder) for folder in (*home.sources, cache)]
    facts = {"state": known.presence, "looked": looked, "folder": str(cache), "verified": None}
    if known.presence not in USABLE or known.presence == "downloadable":
        status: Literal["missing", "broken"] = "broken" if known.presence == "broken" else "missing"
        where = f" (looked in {', '.join(looked)})" if status == "missing" and "looked in" not in known.detail else ""
        when = " at the first use; --data DIR takes your own copy" if known.presence == "downloadable" else ""
        return Diagnosis(what, status, known.detail + when + where, facts)
    words = {
        "built in": "made by the code itself",
        "prepared": f"prepared in {cache}",
        "not prepared": "files found; they are decoded at the first use",
    }[known.presence]
    return _verified(what, words, chosen, home, facts) if verify else Diagnosis(what, "ok", words, facts)


def _verified(
    what: str, words: str, chosen: ResolvedPlugin[DatasetSpec], home: Home, facts: Mapping[str, Any]
) -> Diagnosis:
    """Return the status of a dataset read in full; a difference from its spec is a fault."""
    checks = list(verify_splits(chosen, home))
    faults = [check.detail for check in checks if check.failed or check.status in ("rejected", "missing")]
    if faults:
        return Diagnosis(what, "broken", "; ".join(faults), {**facts, "verified": False})
    notes = [f"{check.split}: {check.detail}" for check in checks if check.detail]
    known = not any(check.status == "unverified" for check in checks)
    said = "verified" if known else "no digest to verify it by"
    return Diagnosis(what, "ok", "; ".join([f"{words}, {said}", *notes]), {**facts, "verified": known or None})
