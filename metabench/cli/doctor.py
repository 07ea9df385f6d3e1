"""``metabench doctor``: is everything here that a run needs, and if not, what to do."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import click

from metabench.cli.listing import columns, echo_json, home_option, json_option
from metabench.cli.loose import current_registry
from metabench.data.types import DataContext
from metabench.errors import MetabenchError, MissingError
from metabench.home import Home
from metabench.plugins import one_line
from metabench.registry import Registry, availability, load_target, nameless, resolve_params
from metabench.specs import DatasetSpec


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``missing`` is something one can do without; ``broken`` is a fault."""

    what: str
    status: Literal["ok", "missing", "broken"]
    detail: str


class _Preparing(Exception):
    """A data set has found its files and begins to decode them."""


@click.command("doctor")
@json_option
@home_option
@click.option("--data", metavar="DIR", help="Folder with your own copies of official data (also METABENCH_DATA).")
@click.pass_context
def doctor(context: click.Context, as_json: bool, home: str | None, data: str | None) -> None:
    """Check the installation, the home folder, the plugins and the data; exit code 1 if any is broken."""
    place, registry = Home.resolve(home, data), current_registry()
    checks = [*_versions(), _device(), _home(place), *_plugins(registry)]
    checks += [_dataset(spec, place) for spec in registry.datasets.values()]
    if as_json:
        echo_json(checks)
    else:
        click.echo(columns(("check", "status", "what was found"), [(c.what, c.status, c.detail) for c in checks]))
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
        from metabench.environment import choose_device

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
    for item in registry.plugins.provided:
        if why := availability(item.spec):
            yield Check(f"{item.kind} {item.spec.name}", "missing", why)


def _dataset(spec: DatasetSpec, home: Home) -> Check:
    """Load a split just far enough to know that its files are there."""
    what = f"data set {spec.name}"
    if nameless(spec):
        return Check(what, "ok", f"yours: {spec.name}:{spec.argument.upper()}")
    if not spec.download:
        return Check(what, "ok", "made by the code itself")
    cache = home.dataset_cache(spec.cache_name)
    try:
        dataset = load_target(spec)(**resolve_params(spec, {}))
        dataset.load("test", DataContext(cache, home.sources, allow_download=False, progress=_stop))
    except _Preparing:
        return Check(what, "ok", "files found; they are decoded at the first use")
    except MissingError as error:
        looked = ", ".join(str(folder) for folder in (*home.sources, cache))
        return Check(what, "missing", f"{error} (looked in {looked})")
    except Exception as error:  # a data set is a plugin: whatever it raises is one line here
        return Check(what, "broken", str(error) if isinstance(error, MetabenchError) else one_line(error))
    return Check(what, "ok", f"prepared in {cache}")


def _stop(text: str, done: int, total: int) -> None:
    raise _Preparing
