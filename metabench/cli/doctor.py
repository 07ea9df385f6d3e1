"""``metabench doctor``: is everything here that a run needs, and if not, what to do."""

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

from metabench.cli.datasets import form_name, forms, verified
from metabench.cli.options import home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json
from metabench.data.availability import USABLE, look
from metabench.errors import MetabenchError
from metabench.planning.suites import load_suites
from metabench.registry.loader import one_line
from metabench.registry.registry import Registry, availability, nameless
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec, defaults
from metabench.utils.home import Home

_FOR_WORK = ("dev", "docs")
"""Extras for those who work on metabench itself."""


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``missing`` is something one can do without; ``broken`` is a fault.

    `facts` are for ``--json``: of a data set, its state, where it was looked for and whether it was verified.
    """

    what: str
    status: Literal["ok", "missing", "broken"]
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@click.command("doctor")
@json_option
@home_option
@click.option("--data", metavar="DIR", help="Folder with your own copies of official data (also METABENCH_DATA).")
@click.option("--verify", is_flag=True, help="Read the data sets that are here in full and compare their digests.")
@click.pass_context
def doctor(context: click.Context, as_json: bool, home: str | None, data: str | None, verify: bool) -> None:
    """Check the installation, the home folder, the plugins, the extras and the data; exit code 1 if any is broken.

    Of every data set, and every class split (fold) of it, it tells where it is looked for, whether it is there,
    prepared or not, and what to do if it is not. Nothing is decoded unless --verify is given.
    """
    place, registry = Home.resolve(home, data), current_registry()
    checks = [*_versions(), _device(), _home(place), *_plugins(registry), *_extras()]
    for spec in registry.datasets.values():
        checks += [_dataset(form, place, verify) for form in forms(ResolvedPlugin(spec, defaults(spec)))]
    if as_json:
        echo_json(checks)
    else:
        click.echo(columns(("check", "status", "what was found"), [(c.what, c.status, c.detail) for c in checks]))
        looked = ", ".join(map(str, place.sources)) or "none (--data, METABENCH_DATA)"
        click.echo(f"your own copies are looked for in: {cell(looked)}", err=True)
    if any(check.status == "broken" for check in checks):
        context.exit(1)


def _versions() -> Iterator[Check]:
    yield Check("python", "ok", platform.python_version())
    for name in ("metabench", "torch", "numpy"):
        try:
            yield Check(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "broken", "not installed; pip install metabench")


def _device() -> Check:
    try:
        from metabench.runtime.devices import choose_device

        return Check("device", "ok", str(choose_device("auto")))
    except Exception as error:  # a damaged torch fails in many ways
        return Check("device", "broken", f"torch does not work ({one_line(error)}); install it again")


def _home(home: Home) -> Check:
    try:
        home.ensure()
    except MetabenchError as error:
        return Check("home", "broken", str(error))
    return Check("home", "ok", f"{home.root}, {shutil.disk_usage(home.root).free / 1e9:.1f} GB free")


def _plugins(registry: Registry) -> Iterator[Check]:
    for info in registry.plugins.infos:
        status: Literal["ok", "broken"] = "broken" if info.status == "broken" else "ok"
        yield Check(f"plugin {info.origin}", status, info.error or ", ".join(info.provides))
    for (kind, name), origins in registry.clashes.items():
        detail = f"provided by {' and '.join(origins)}; keep one of them"
        yield Check(f"{kind} {name}", "broken", detail)
    for problem in load_suites(registry)[1]:
        yield Check("suite", "broken", problem)
    for item in registry.plugins.provided:
        if why := availability(item.spec):
            yield Check(f"{item.kind} {item.spec.name}", "missing", why)


def _extras() -> Iterator[Check]:
    """Tell of each extra whether what it brings is installed."""
    packages: dict[str, list[str]] = defaultdict(list)
    for line in importlib.metadata.requires("metabench") or ():
        if found := re.match(r"([A-Za-z0-9._-]+).*extra == ['\"]([A-Za-z0-9_-]+)['\"]", line):
            packages[found[2]].append(found[1])
    for extra, names in packages.items():
        if extra not in _FOR_WORK:
            missing = [name for name in names if not _installed(name)]
            why = f"needs {', '.join(missing)}; pip install 'metabench[{extra}]'"
            yield Check(f"extra {extra}", "missing" if missing else "ok", why if missing else ", ".join(names))


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _dataset(chosen: ResolvedPlugin, home: Home, verify: bool) -> Check:
    """Tell what is there of a data set, and with `verify` whether it is what it should be."""
    spec = chosen.spec
    assert isinstance(spec, DatasetSpec)
    what, cache = f"data set {form_name(chosen)}", home.dataset_cache(spec.cache_name)
    if nameless(spec):
        return Check(what, "ok", f"yours: {spec.name}:{spec.argument.upper()}", {"state": "yours"})
    found = look(spec, chosen.params, home)
    looked = [str(folder) for folder in (*home.sources, cache)]
    facts = {"state": found.presence, "looked": looked, "folder": str(cache), "verified": None}
    if found.presence not in USABLE or found.presence == "downloadable":
        status: Literal["missing", "broken"] = "broken" if found.presence == "broken" else "missing"
        where = f" (looked in {', '.join(looked)})" if status == "missing" and "looked in" not in found.detail else ""
        when = " at the first use; --data DIR takes your own copy" if found.presence == "downloadable" else ""
        return Check(what, status, found.detail + when + where, facts)
    words = {
        "built in": "made by the code itself",
        "prepared": f"prepared in {cache}",
        "not prepared": "files found; they are decoded at the first use",
    }[found.presence]
    return _verified(what, words, chosen, home, facts) if verify else Check(what, "ok", words, facts)


def _verified(what: str, words: str, chosen: ResolvedPlugin, home: Home, facts: Mapping[str, Any]) -> Check:
    """Read a data set in full; what differs from what it declares is a fault."""
    checks = list(verified(chosen, home))
    faults = [each.detail for each in checks if each.failed or each.status in ("rejected", "missing")]
    if faults:
        return Check(what, "broken", "; ".join(faults), {**facts, "verified": False})
    notes = [f"{each.split}: {each.detail}" for each in checks if each.detail]
    known = not any(each.status == "unverified" for each in checks)
    said = "verified" if known else "no digest to verify it by"
    return Check(what, "ok", "; ".join([f"{words}, {said}", *notes]), {**facts, "verified": known or None})
