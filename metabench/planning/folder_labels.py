"""Labels of datasets that are the user's own folders: those with equal names get the end of their path."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath

from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec


def folder_labels(datasets: Sequence[ResolvedPlugin[DatasetSpec]]) -> list[str]:
    """Return the name of each dataset; where one name means several folders, with the end of the path that differs."""
    paths = [_path(dataset) for dataset in datasets]
    by_name: dict[str, set[str]] = defaultdict(set)
    for dataset, path in zip(datasets, paths, strict=True):
        by_name[dataset.name].add(path)
    return [
        f"{dataset.spec.name}:{_tail(path, by_name[dataset.name])}" if len(by_name[dataset.name]) > 1 else dataset.name
        for dataset, path in zip(datasets, paths, strict=True)
    ]


def _path(dataset: ResolvedPlugin[DatasetSpec]) -> str:
    """Return the folder of the data, '' for data that are not in a folder of the user's."""
    local = [param.name for param in dataset.spec.params if param.is_local_path and dataset.params[param.name]]
    if not local:
        return ""
    return os.path.abspath(os.path.expanduser(str(dataset.params[local[0]])))  # noqa: PTH100, PTH111 - no I/O


def _tail(path: str, others: set[str]) -> str:
    """Return the last parts of a path, as many as distinguish it from the others."""
    parts = PurePath(path).parts
    rest = [PurePath(other).parts for other in others if other != path]
    count = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in rest)), len(parts))
    return PurePath(*parts[-count:]).as_posix()
