"""``metabench datasets list``: the datasets, and whether they are ready for use."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli.datasets.class_splits import class_splits
from metabench.cli.datasets.states import YOURS, counted_states
from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import columns, echo_json, warn_of_broken
from metabench.data.availability import dataset_status
from metabench.registry.registry import nameless
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec, defaults
from metabench.utils.home import Home

_HEADER = ("name", "kind", "classes", "shape", "licence", "state", "summary")


@click.command("list")
@json_option
@home_option
@data_option
def list_datasets(as_json: bool, home: str | None, data: str | None) -> None:
    """List the datasets and whether they are ready for use."""
    folders, registry = Home.resolve(home, data), current_registry()
    warn_of_broken(registry)
    rows = [_described(spec, folders) for spec in registry.datasets.values()]
    if as_json:
        echo_json(rows)
        return
    click.echo(columns(_HEADER, [[_flat(row[name]) for name in _HEADER] for row in rows]))


def _described(spec: DatasetSpec, folders: Home) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "kind": spec.kind,
        "classes": {split: spec.sizes[split].classes for split in spec.splits if split in spec.sizes},
        "images": {split: spec.sizes[split].images for split in spec.splits if split in spec.sizes},
        "shape": list(spec.image_shape),
        "licence": spec.licence,
        "state": _state(spec, folders),
        "summary": spec.summary,
        "reference": spec.reference,
    }


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(str(count) for count in value.values())
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _state(spec: DatasetSpec, folders: Home) -> str:
    """Return whether a dataset can be used; where its folds differ, the number of each. Decodes nothing."""
    if nameless(spec):
        return f"{YOURS}: {spec.name}:{spec.argument.upper()}"
    looks = [dataset_status(spec, fold.params, folders) for fold in class_splits(ResolvedPlugin(spec, defaults(spec)))]
    state = counted_states([look.presence for look in looks])
    return f"{state}: {looks[0].detail}" if state == "unavailable" else state
