"""Names of data sets that are folders of the user's: those of one name are told apart by where they are."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath

from metabench.registry.resolved import ResolvedPlugin


def names_with_places(choices: Sequence[ResolvedPlugin]) -> list[str]:
    """Return the name of each choice; where one name means several folders, with the end of the path that differs."""
    paths = [_path(choice) for choice in choices]
    alike: dict[str, set[str]] = defaultdict(set)
    for choice, path in zip(choices, paths, strict=True):
        alike[choice.name].add(path)
    return [
        f"{choice.spec.name}:{_tail(path, alike[choice.name])}" if len(alike[choice.name]) > 1 else choice.name
        for choice, path in zip(choices, paths, strict=True)
    ]


def _path(choice: ResolvedPlugin) -> str:
    """Return where the data are, '' for data that are not in a folder of the user's."""
    places = [param.name for param in choice.spec.params if param.is_local_path and choice.params[param.name]]
    if not places:
        return ""
    return os.path.abspath(os.path.expanduser(str(choice.params[places[0]])))  # noqa: PTH100, PTH111 - no I/O


def _tail(path: str, others: set[str]) -> str:
    """Return the last parts of a path, as many as tell it from the others."""
    parts = PurePath(path).parts
    rest = [PurePath(other).parts for other in others if other != path]
    count = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in rest)), len(parts))
    return PurePath(*parts[-count:]).as_posix()
