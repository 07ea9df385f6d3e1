"""``metabench check``: run the conformance kit on plugins."""

from __future__ import annotations

import os
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry, plugin_files
from metabench.cli.rendering import cell, columns, echo_json, warn_of_broken
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
_WIDTH = 100


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
    with Console(quiet=options["quiet"]).progress("checking", 100) as bar:
        results = run_checks(
            targets,
            only=options["only"],
            device=options["device"],
            environment={"METABENCH_HOME": str(home.root), "METABENCH_DATA": os.pathsep.join(map(str, home.sources))},
            progress=lambda done, total, text: bar.update(100 * done // max(1, total), text),
            log=lambda text: click.echo(text, err=True) if verbose else None,
        )
    if options["as_json"]:
        echo_json({"rows": results})
    else:
        click.echo("\n\n".join(_table(target, results) for target in targets))
    if any(result.status == "failed" for result in results):
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


def _table(target: CheckTarget, results: Sequence[CheckResult]) -> str:
    """Return the checks of one plugin as text, with a remedy for each that failed."""
    own = [result for result in results if (result.kind, result.name) == (target.kind, target.name)]
    counts = {status: sum(result.status == status for result in own) for status in ("passed", "failed", "missing")}
    total = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    skipped = sum(result.status == "skipped" for result in own)
    lines = [f"{target.kind} {target.name}: {total}" + (f", {skipped} not applicable" if skipped else "")]
    rows = [(result.check, result.status, cell(result.reason or result.promise)) for result in own]
    table = columns(("check", "result", "what it makes sure of, or why it does not apply"), rows)
    lines += [f"  {line}" for line in table.splitlines()]
    same: dict[str, list[CheckResult]] = defaultdict(list)
    for result in own:
        if result.status == "failed":
            same[result.found].append(result)
    for finding, failed in same.items():
        names = ", ".join(result.check for result in failed)
        lines += [
            "",
            *textwrap.wrap(f"failed: {names} of {target.name}", _WIDTH, break_on_hyphens=False),
            *_paragraph("found", cell(finding)),
        ]
        if len(failed) > 1:  # one fault behind several checks: their own remedies would mislead
            lines += _paragraph("to fix", f"Fix this first: {len(failed)} checks fail for this reason.")
            continue
        for label, text in (("means", failed[0].means), ("to fix", failed[0].fix)):
            lines += _paragraph(label, cell(text)) if text else []
    for finding in dict.fromkeys(result.found for result in own if result.status == "missing"):
        lines += ["", *_paragraph("missing", cell(finding))]
    return "\n".join(lines)


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {label:<8}", subsequent_indent=" " * 10)
