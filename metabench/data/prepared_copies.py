"""Arrays prepared from a user's copies of a dataset, named by the fingerprint of the copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FINGERPRINT_LENGTH = 16
"""Characters of a copy's fingerprint that stand in a file name."""


@dataclass(frozen=True)
class PreparedCopies:
    """Arrays of one form of a dataset: one for each split and each prepared copy.

    Attributes:
        folder: that they are in.
    """

    folder: Path

    def path(self, split: str, fingerprint: str) -> Path:
        """Return the path of the array of a split that was made from the copy with this fingerprint."""
        return self.folder / f"{split}-{fingerprint[:FINGERPRINT_LENGTH]}.npy"

    def draft(self, split: str) -> Path:
        """Return the path of the draft of a split: one for all copies, so that an abandoned draft is not kept."""
        return self.folder / f"{split}.partial"

    def latest(self) -> str | None:
        """Return the fingerprint of the copy prepared last, for use where the copies themselves are gone."""
        times: Mapping[Path, int] = {path: path.stat().st_mtime_ns for path in self.folder.glob("*-*.npy")}
        newest = max(times, key=times.__getitem__, default=None)
        return None if newest is None else newest.stem.rpartition("-")[2]
