"""Datasets that a user names, once for each of their class splits (folds)."""

from __future__ import annotations

from collections.abc import Mapping

from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.registry.specs import FOLD, DatasetSpec


def choose_dataset(
    registry: Registry, name: str, settings: Mapping[str, Value] | None = None
) -> ResolvedPlugin[DatasetSpec]:
    """Return the dataset that a user names, with parameters from the name, `settings` or defaults.

    Raises:
        UsageError: an unknown name, or a bad value.
    """
    spec, named = registry.choose("dataset", name)
    return ResolvedPlugin(spec, resolve_params(spec, {**named, **(settings or {})}))


def class_splits(dataset: ResolvedPlugin[DatasetSpec]) -> list[ResolvedPlugin[DatasetSpec]]:
    """Return a dataset once for each of its class splits, the default one first."""
    folds = [{FOLD: params[FOLD]} for params, _ in dataset.spec.forms() if dataset.spec.folds]
    return [ResolvedPlugin(dataset.spec, {**dataset.params, **fold}) for fold in folds] or [dataset]


def class_split_name(dataset: ResolvedPlugin[DatasetSpec], title: str = "") -> str:
    """Return the name of a dataset, or `title`, with the class split where it has several."""
    name = title or dataset.name
    return f"{name} {FOLD}={dataset.params[FOLD]}" if dataset.spec.folds else name
