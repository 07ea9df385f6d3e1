"""The splits and classes that a folder of images holds, and the rules that its splits must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from metabench.api import ClassFiles, SkippedFiles, UsageError, first_three, pluralise

PAIRED = ("train", "test")
"""The splits that may have the same classes."""


@dataclass(frozen=True)
class Listing:
    """Content of a folder.

    Attributes:
        splits: the classes of each split, without those that are too small.
        skipped: every file that is not read.
    """

    splits: Mapping[str, ClassFiles]
    skipped: SkippedFiles

    @property
    def note(self) -> str:
        """Sentence about files and classes left out, '' where there are none."""
        small = sum(classes.small[0] for classes in self.splits.values())
        least = max(classes.small[1] for classes in self.splits.values())
        left = f"left out {pluralise(small, 'class')} of fewer than {least} images" if small else ""
        tables = {classes.table.name for classes in self.splits.values() if classes.table}
        labels = "".join(f"labels are those of {table}" for table in tables)
        return "; ".join(filter(None, (labels, self.skipped.note, left)))


def refuse_overlap(listing: Listing, name: str) -> None:
    """Raise UsageError where classes are in two splits."""
    for (one, some), (other, others) in combinations(listing.splits.items(), 2):
        if not (both := sorted(some.files.keys() & others.files.keys())):
            continue
        here, there, ways = one, other, ["move each class into one split"]
        if others.table is None:
            here, there = f"{some.folder.name}/", f"{others.folder.name}/"
            if other == "test":
                ways.append(f"measure on folder:{others.folder} alone, where the examples come from {there} too")
        else:
            ways.append(f"give a table without splits instead of {others.table}")
        if (one, other) == PAIRED:
            ways.append(f"take examples from {here} and ask about {there} by --protocol support-split")
        raise UsageError(
            f"cannot use {name} as it is: {pluralise(len(both), 'class')} {'is' if len(both) == 1 else 'are'} in "
            f"{here} and in {there}: {first_three(map(repr, both))}. Few-shot methods train on some classes and are "
            f"measured on others, so the splits must have different classes: {', or '.join(ways)}"
        )


def require_same_classes(listing: Listing, name: str) -> None:
    """Raise UsageError where the classes of train/ and test/ are not the same."""
    if absent := [split for split in PAIRED if split not in listing.splits]:
        raise UsageError(f"{name}: has no {absent[0]}/ sub-folder; give it classes of the same names as in the other")
    train, test = (listing.splits[split].files.keys() for split in PAIRED if split in listing.splits)
    for here, there, only in (("train", "test", train - test), ("test", "train", test - train)):
        if only:
            raise UsageError(
                f"cannot use {name} with support from train and queries from test: {pluralise(len(only), 'class')} of "
                f"{here} {'is' if len(only) == 1 else 'are'} not in {there}: {first_three(map(repr, sorted(only)))}. "
                "Give both the same classes"
            )
