"""``metabench check``: run the conformance kit on plugins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import click

from metabench.cli.check_printer import CheckPrinter
from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry, plugin_files
from metabench.cli.rendering import echo_json, warn_of_broken
from metabench.cli.run_options import parse_settings
from metabench.errors import MissingError, UsageError, did_you_mean
from metabench.registry.params import Value
from metabench.registry.registry import Registry, availability
from metabench.registry.resolved import resolve_params
from metabench.registry.specs import AnySpec, Kind
from metabench.runtime.devices import check_device_name
from metabench.testing.runner import CHECKED_KINDS, CheckResult, CheckTarget, run_checks
from metabench.utils.console import Console
from metabench.utils.home import Home

_SCOPES: Mapping[str, Kind] = {"algo": "algorithm", "data": "dataset", "backbone": "backbone", "protocol": "protocol"}


@click.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--all", "everything", is_flag=True, help="Check everything that is installed and whose data are available."
)
@click.option("--kind", type=click.Choice(CHECKED_KINDS), help="Only plugins of this kind.")
@click.option("-k", "--only", multiple=True, metavar="CHECK", help="Run only this check; may be repeated.")
@click.option(
    "--set", "settings", multiple=True, callback=parse_settings, metavar="SCOPE.NAME=VALUE",
    help="Check with another parameter value: algo.*, data.*, backbone.*, protocol.*.",
)  # fmt: skip
@click.option("--device", metavar="DEVICE", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@data_option
@click.option("--quiet", "-q", is_flag=True, help="Hide progress.")
@home_option
@json_option
@click.pass_context
def check_command(context: click.Context, /, names: tuple[str, ...], everything: bool, **options: Any) -> None:
    """Check that plugins keep the rules that make their numbers comparable.

    NAME is an algorithm, a dataset, a backbone or a protocol. Without NAME, everything that the files given with
    --plugin provide is checked. Exit code 0 if every check passed, 1 if one failed, 3 if something needed is missing.
    """
    check_device_name(options["device"])
    registry, home = current_registry(), Home.resolve(options["home"], options["data"])
    chosen = _chosen(registry, names, options["kind"], everything)
    targets = _targets(chosen, options["settings"])
    if everything:
        warn_of_broken(registry)
    verbose = bool(context.find_root().params.get("verbose"))
    printer = CheckPrinter()
    console = Console(quiet=options["quiet"])
    with console.progress("checking", 100) if options["as_json"] else nullcontext() as bar:

        def report(result: CheckResult, done: int, total: int) -> None:
            if bar is None:
                printer.add(result)
            else:
                bar.update(100 * done // total, f"{result.name}: {result.check}")

        results = run_checks(
            targets,
            only=options["only"],
            device=options["device"],
            environment={"METABENCH_HOME": str(home.root), "METABENCH_DATA": os.pathsep.join(map(str, home.sources))},
            report=report,
            log=lambda text: click.echo(text, err=True) if verbose else None,
        )
    if options["as_json"]:
        echo_json({"rows": results})
    else:
        printer.finish(results)
    if any(result.status in ("failed", "not run") for result in results):
        context.exit(1)
    for result in results:
        if result.status == "missing" and not everything:
            raise MissingError(result.found)


def _chosen(
    registry: Registry, names: Sequence[str], kind: Kind | None, everything: bool
) -> list[tuple[Kind, AnySpec]]:
    """Return the specs to check.

    Raises:
        UsageError: an unknown name, or nothing to check.
        MissingError: a named plugin cannot be used.
    """
    kinds = (kind,) if kind else CHECKED_KINDS
    if names and everything:
        raise UsageError("give names or --all, not both")
    if names:
        named = [pair for name in dict.fromkeys(names) for pair in _called(registry, name, kinds)]
        for spec_kind, spec in named:
            if reason := availability(spec):
                raise MissingError(f"{spec_kind} '{spec.name}' {reason}")
        return named
    specs = [(spec_kind, spec) for spec_kind in kinds for spec in registry.names(spec_kind).values()]
    if everything:
        for spec_kind, spec in specs:
            if reason := availability(spec):
                click.echo(f"left out: {spec_kind} '{spec.name}' {reason}", err=True)
        return [pair for pair in specs if not availability(pair[1])]
    local = [pair for pair in specs if pair[1].file_sha256]
    if not local:
        raise UsageError("name what to check, or give a file with --plugin FILE.py, or --all; see 'metabench list'")
    return local


def _called(registry: Registry, name: str, kinds: Sequence[Kind]) -> Iterator[tuple[Kind, AnySpec]]:
    """Yield every plugin of that name; raise UsageError where there is none."""
    claimed = [kind for kind in kinds if name in registry.names(kind) or (kind, name) in registry.clashes]
    if not claimed:
        known = {other for kind in kinds for other in registry.names(kind)}
        hint = did_you_mean(name, known, "metabench list") + registry.broken_hint
        raise UsageError(f"unknown {' or '.join(kinds)} '{name}'{hint}")
    yield from ((kind, registry.find(kind, name)) for kind in claimed)


def _targets(chosen: Sequence[tuple[Kind, AnySpec]], settings: Mapping[str, str]) -> list[CheckTarget]:
    """Pair each spec with the settings of its kind.

    Raises:
        UsageError: an unknown scope, a bad value, or a setting of a kind that is not checked.
    """
    by_kind: dict[Kind, dict[str, Value]] = {kind: {} for kind in CHECKED_KINDS}
    for setting, value in settings.items():
        scope, _, name = setting.partition(".")
        if scope not in _SCOPES:
            raise UsageError(f"--set {setting}: write SCOPE.NAME=VALUE with a scope of {', '.join(_SCOPES)}")
        by_kind[_SCOPES[scope]][name] = value
    targets = []
    for kind, spec in chosen:
        values = resolve_params(spec, by_kind[kind])
        changed = {name: values[name] for name in by_kind[kind]}
        targets.append(CheckTarget(kind, spec.name, changed, plugin_files()))
    unused = [kind for kind, values in by_kind.items() if values and kind not in {checked for checked, _ in chosen}]
    if unused:
        raise UsageError(f"--set has values for a {unused[0]}, but none is checked")
    return targets
