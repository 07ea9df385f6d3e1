"""``metabench show``: one plugin or one stored run in full."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from metabench.cli.listing import (
    accuracy,
    cell,
    columns,
    described,
    echo_json,
    home_option,
    json_option,
    plain,
)
from metabench.errors import UsageError, did_you_mean
from metabench.home import Home
from metabench.plugins import SPEC_CLASSES
from metabench.registry import availability, kind_of, load_registry
from metabench.specs import AlgorithmSpec, AnySpec, BackboneSpec, DatasetSpec, defaults


@click.command("show")
@click.argument("name")
@json_option
@home_option
def show(name: str, as_json: bool, home: str | None) -> None:
    """Show every plugin called NAME, or the stored run whose key starts with NAME."""
    registry = load_registry()
    kinds = [kind for kind in SPEC_CLASSES if name in registry.names(kind) or (kind, name) in registry.clashes]
    if kinds:
        specs = [registry.find(kind, name) for kind in kinds]
        if as_json:
            echo_json([described(spec) for spec in specs])
        else:
            click.echo("\n\n".join("\n".join(_spec_lines(spec)) for spec in specs))
        return
    if not re.fullmatch("[0-9a-f]{4,64}", name):
        known = {other for kind in SPEC_CLASSES for other in registry.names(kind)}
        raise UsageError(f"nothing is called '{name}'{did_you_mean(name, known)}")
    from metabench.store import Store

    record = Store(Home.resolve(home).root).resolve(name)
    if as_json:
        echo_json(record)
    else:
        click.echo(_record_text(record))


def _record_text(record: Mapping[str, Any]) -> str:
    """Return a record for a person: a headline, then everything but the scores of single episodes."""
    rest = {name: value for name, value in record.items() if name not in ("scores", "key", "status")}
    headline = f"run {record['key']}  {record['status']}  accuracy {accuracy(record['summary'])} %"
    return headline + "\n" + json.dumps(rest, indent=2)


def _spec_lines(spec: AnySpec) -> list[str]:
    """Return everything a spec says, for a person."""
    facts = [("version", spec.version), ("reference", spec.reference), ("licence", spec.licence)]
    if isinstance(spec, AlgorithmSpec):
        facts += [
            ("setting", spec.setting_with(defaults(spec))),
            ("takes", spec.takes),
            ("trains", spec.trains),
            ("backbone", spec.backbone),
        ]
    elif isinstance(spec, BackboneSpec):
        facts += [("trains", spec.trains), ("trained on", spec.trained_on or "nothing: random start")]
    elif isinstance(spec, DatasetSpec):
        facts += [("image shape", "x".join(map(str, spec.image_shape))), ("download", spec.download)]
    if lacking := availability(spec):
        facts.append(("unavailable", lacking))
    lines = [cell(f"{kind_of(spec)} {spec.name}: {spec.summary}")]
    lines += [f"  {label:<12} {cell(value)}" for label, value in facts]
    rows = [(p.name, cell(p.default), p.doc + _choices(p.choices)) for p in spec.params]
    lines += _block(("parameter", "default", "meaning"), rows)
    if isinstance(spec, DatasetSpec):
        sizes = [(split, size.classes, size.images, spec.digests.get(split, "-")) for split, size in spec.sizes.items()]
        lines += _block(("split", "classes", "images", "digest"), sizes)
    if isinstance(spec, AlgorithmSpec):
        for dataset, recipe in spec.recipes.items():
            label = "any other data set" if dataset == "*" else dataset
            settings = [(name, value) for name, value in plain(recipe).items() if value != ""]
            lines += _block((f"recipe for {label}", ""), settings)
    return lines


def _choices(choices: Sequence[Any]) -> str:
    return f" (one of {', '.join(map(cell, choices))})" if choices else ""


def _block(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return ["", *(f"  {line}" for line in columns(header, rows).splitlines())] if rows else []
