"""The folders of a user's own images that stand for splits: train/, val/ and test/, by whatever usual name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metabench.data.image_folders import LAYOUT, visible
from metabench.data.skipped_files import SkippedFiles
from metabench.errors import UsageError

NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of the folder of each split, in any case of letters."""


@dataclass(frozen=True)
class SplitFolders:
    """The folder of each split.

    Attributes:
        places: by the name of the split; ``test`` alone is the whole folder where there are no splits.
        skipped: what lies beside them.
    """

    places: Mapping[str, Path]
    skipped: SkippedFiles


def read_splits(root: Path, what: str) -> SplitFolders:
    """Return the folders of splits in a folder: those with a usual name, if one of them holds class folders.

    Raises:
        MissingError: the folder cannot be read; messages name `what`.
        UsageError: two folders stand for one split, none stands for ``test``, or all hold images directly.
    """
    entries = visible(root, what)
    named = [(split, Path(entry.path)) for entry in entries if entry.is_dir() and (split := split_of(entry.name))]
    if not any(entry.is_dir() for _, folder in named for entry in visible(folder, what)):
        _refuse_flat(named, [entry.name for entry in entries if entry.is_dir()], what)
        return SplitFolders(
            {"test": root}, SkippedFiles(root)
        )  # sub-folders of that name, if any, hold images: classes
    places: dict[str, Path] = {}
    for split, folder in named:
        if split in places:
            raise UsageError(
                f"cannot read {what}: {places[split].name}/ and {folder.name}/ both stand for the {split} split. "
                "Rename one of them, or move its classes into the other"
            )
        places[split] = folder
    have = " and ".join(f"{folder.name}/" for _, folder in named)
    if "test" not in places:
        other = next((f", or rename {entry.name}/ to it" for entry in entries if _is_like_a_split(entry)), "")
        raise UsageError(
            f"cannot read {what}: it has {have} but no test/, whose classes are measured. Add test/{other}"
        )
    skipped = SkippedFiles(root)
    for entry in entries:
        if not entry.is_dir():
            skipped.add(f"beside {have}", entry.path)
        elif Path(entry.path) not in places.values():
            reason = f"in folders beside {have}"
            if "val" not in places and _is_like_a_split(entry):
                reason = f"in {entry.name}/ beside {have}, to be renamed val/ if it is that split"
            skipped.add_folder(Path(entry.path), reason)
    return SplitFolders({split: places[split] for split in NAMES if split in places}, skipped)


def split_of(name: str) -> str:
    """Return the split that a name stands for, '' for none."""
    return next((split for split, names in NAMES.items() if name.lower() in names), "")


def _is_like_a_split(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a folder whose name may stand for validation or test, nobody knows which."""
    return entry.name.lower() in ("dev", "development", "eval", "evaluation", "holdout") and entry.is_dir()


def _refuse_flat(named: list[tuple[str, Path]], folders: list[str], what: str) -> None:
    """Refuse train/ and test/ that hold images and no classes, where there is nothing else."""
    if len(named) > 1 and len(named) == len(folders):
        have = " and ".join(f"{folder.name}/" for _, folder in named)
        raise UsageError(f"cannot read {what}: {have} hold images but no class folders. {LAYOUT}, in {have}")
