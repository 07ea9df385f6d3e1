"""Published class splits, from the lists in this package."""

from __future__ import annotations

from functools import cache
from importlib import resources

ClassLists = dict[str, tuple[str, ...]]


@cache
def class_lists(name: str) -> ClassLists:
    """Return the classes of each split in ``data/NAME.txt``, whose lines are a split and a class."""
    text = (resources.files("metabench_datasets") / "data" / f"{name}.txt").read_text("utf-8")
    lists: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            split, label = line.split()
            lists.setdefault(split, []).append(label)
    return {split: tuple(labels) for split, labels in lists.items()}
