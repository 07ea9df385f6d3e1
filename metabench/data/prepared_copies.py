"""Arrays prepared from the copies of a data set that a user has, told apart by what they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MARK = 16
"""Characters of a mark that stand in a file name."""


@dataclass(frozen=True)
class Prepared:
    """The arrays of one form of a data set: one for each split and each copy that was prepared.

    Attributes:
        folder: that they are in.
    """

    folder: Path

    def path(self, split: str, mark: str) -> Path:
        """Return the place of the array of a split made from the copy that `mark` identifies."""
        return self.folder / f"{split}-{mark[:MARK]}.npy"

    def draft(self, split: str) -> Path:
        """Return where a split is prepared: one place for all copies, so that an abandoned draft is not kept."""
        return self.folder / f"{split}.partial"

    def latest(self) -> str | None:
        """Return the mark of the copy prepared last: what is used where the copies themselves are gone."""
        times: Mapping[Path, int] = {path: path.stat().st_mtime_ns for path in self.folder.glob("*-*.npy")}
        newest = max(times, key=times.__getitem__, default=None)
        return None if newest is None else newest.stem.rpartition("-")[2]
