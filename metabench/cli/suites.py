"""``metabench suites``: what there is to measure at once, and what one suite measures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import click

from metabench.cli.options import json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json, warn_of_broken
from metabench.planning.suites import Suite, find_suite, load_suites

_DEFAULTS = {"protocols": ("",), "backbones": ("",), "ways": (0,), "shots": (0,)}
"""One of each, whatever the plan makes of it: cells are only counted here."""


@click.command("suites")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@json_option
def suites(name: str | None, as_json: bool) -> None:
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
    found, problems = load_suites(registry)
    for line in problems:
        click.echo(f"warning: {cell(line)}", err=True)
    if as_json:
        echo_json([_document(suite) for suite in found.values()])
        return
    rows = [(suite.id, ", ".join(_datasets(suite)), _cells(suite), suite.summary) for suite in found.values()]
    click.echo(columns(("suite", "data sets", "cells", "summary"), rows))


def _document(suite: Suite) -> dict[str, Any]:
    return {
        **suite.provenance(),
        "summary": suite.summary,
        "reference": suite.reference,
        "file": str(suite.where),
        "cells": _cells(suite),
        "runs": suite.blocks,
    }


def _datasets(suite: Suite) -> list[str]:
    return list(dict.fromkeys(name for block in suite.blocks for name in block["datasets"]))


def _cells(suite: Suite) -> int:
    """How many runs it is for an algorithm with one seed."""
    return sum(len(list(_product(block))) for block in suite.blocks)


def _product(block: Mapping[str, Any]) -> itertools.product[tuple[Any, ...]]:
    filled = {**_DEFAULTS, **block}
    return itertools.product(*(filled[key] for key in ("datasets", "protocols", "backbones", "ways", "shots")))


def _lines(suite: Suite) -> list[str]:
    """Return everything a suite says, for a person."""
    lines = [cell(f"suite {suite.id}: {suite.summary}")]
    lines += [f"  reference    {cell(suite.reference)}"] if suite.reference else []
    lines += [f"  file         {cell(suite.where)}", f"  cells        {_cells(suite)}"]
    for block in suite.blocks:
        lines += ["", *(f"  {key:<12} {cell(_words(value))}" for key, value in block.items())]
    return lines


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
