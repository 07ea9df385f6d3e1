"""A folder of photos and how tests load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench.data import ClassSplit, DataContext
from metabench_datasets.folder import Folder

COUNTS = {"ant": 6, "bee": 7, "cow": 6}


class Notes(list[str]):
    """A context that keeps what is said."""

    def context(self, cache: Path) -> DataContext:
        return DataContext(cache, note=self.append)


def load(path: Path, tmp_path: Path, split: str = "test", notes: Notes | None = None, **params: Any) -> ClassSplit:
    notes = Notes() if notes is None else notes
    return Folder(str(path), **params).load(split, notes.context(tmp_path / "cache"))
