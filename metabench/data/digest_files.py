"""Digests of datasets as specs declare them and as files remember them, and the places of a user's own data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench.registry.params import Value
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec
from metabench.utils.atomic_files import write_atomic
from metabench.utils.bounded_files import read_cached_json
from metabench.utils.home import Home


def declared_digests(dataset: ResolvedPlugin[DatasetSpec]) -> dict[str, str]:
    """Return the digest of each split that the spec declares; empty where the declaration is in a local file.

    A local file may be edited, so its declaration proves nothing.
    """
    spec = dataset.spec
    declared = None if spec.file_sha256 else spec.declared(dataset.params)
    return dict(declared.digests) if declared else {}


def read_digests(path: Path, splits: Sequence[str]) -> dict[str, str] | None:
    """Return the digests in a file; None where it is missing, damaged, or of other splits."""
    known = read_cached_json(path)
    if not isinstance(known, dict) or set(known) != set(splits):
        return None
    return known if all(isinstance(digest, str) for digest in known.values()) else None


def write_digests(path: Path, digests: Mapping[str, str]) -> None:
    """Write the digest of each split to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(digests, indent=1))


class DataPlaces:
    """Paths of a user's own data on this machine, by the digest of each split: records hold the digest alone.

    Args:
        home: holds the file of places.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.root / "places.json"

    def find(self, digest: str) -> dict[str, Value]:
        """Return the path parameters of the data with this digest; empty where no such data was read here."""
        place = self._known().get(digest)
        return place if isinstance(place, dict) else {}

    def remember(self, dataset: ResolvedPlugin[DatasetSpec], digests: Mapping[str, str]) -> None:
        """Note the path parameters of a dataset, if it has any, under the digest of each of its splits."""
        place = {
            param.name: os.path.abspath(os.path.expanduser(str(dataset.params[param.name])))  # noqa: PTH100, PTH111
            for param in dataset.spec.params
            if param.is_local_path
        }
        if place:
            known = {**self._known(), **dict.fromkeys(digests.values(), place)}
            write_atomic(self._path, json.dumps(known, indent=1))

    def _known(self) -> dict[str, Any]:
        known = read_cached_json(self._path)
        return known if isinstance(known, dict) else {}
