"""``metabench suites``: list the suites, or show one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import click

from metabench.cli.options import json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json, warn_of_broken
from metabench.planning.suite_schema import SuiteBlock
from metabench.planning.suites import Suite, find_suite, load_suites

_CELL_KEYS = ("datasets", "protocols", "backbones", "ways", "shots")


@click.command("suites")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@json_option
def suites_command(name: str | None, as_json: bool) -> None:
    """List the suites, or show what one measures. 'metabench run --suite NAME' runs it."""
    registry = current_registry()
    if name is not None:
        suite = find_suite(name, registry)
        if as_json:
            echo_json(_document(suite))
        else:
            click.echo("\n".join(_lines(suite)))
        return
    warn_of_broken(registry)
    suites, problems = load_suites(registry)
    for line in problems:
        click.echo(f"warning: {cell(line)}", err=True)
    if as_json:
        echo_json([_document(suite) for suite in suites.values()])
        return
    rows = [(suite.id, ", ".join(_datasets(suite)), _cells(suite), suite.summary) for suite in suites.values()]
    click.echo(columns(("suite", "datasets", "cells", "summary"), rows))


def _document(suite: Suite) -> dict[str, Any]:
    return {
        **suite.provenance(),
        "summary": suite.summary,
        "reference": suite.reference,
        "file": str(suite.path),
        "cells": _cells(suite),
        "runs": [block.given() for block in suite.blocks],
    }


def _datasets(suite: Suite) -> list[str]:
    return list(dict.fromkeys(name for block in suite.blocks for name in block.datasets or ()))


def _cells(suite: Suite) -> int:
    """Return the number of runs for an algorithm with one seed."""
    return sum(len(list(_cells_of(block))) for block in suite.blocks)


def _cells_of(block: SuiteBlock) -> itertools.product[tuple[Any, ...]]:
    return itertools.product(*(getattr(block, key) or ("by default",) for key in _CELL_KEYS))


def _lines(suite: Suite) -> list[str]:
    """Return the full description of a suite, for a person."""
    lines = [cell(f"suite {suite.id}: {suite.summary}")]
    lines += [f"  reference    {cell(suite.reference)}"] if suite.reference else []
    lines += [f"  file         {cell(suite.path)}", f"  cells        {_cells(suite)}"]
    for block in suite.blocks:
        lines += ["", *(f"  {key:<12} {cell(_words(value))}" for key, value in block.given().items())]
    return lines


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={setting}" for name, setting in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
