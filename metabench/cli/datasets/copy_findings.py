"""Items that a dataset holds more than once, listed by class and position, or by file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metabench.data.duplicates import SplitRow, duplicates
from metabench.data.split import ClassSplit

CopyKind = Literal["repeated", "conflicting", "shared"]
"""Several times in one class; in several classes of a split; in several splits."""


@dataclass(frozen=True)
class Item:
    """One item: its split, class, position in the class from 0, and file, if it has one."""

    split: str
    class_name: str
    index: int
    file: str = ""

    def __str__(self) -> str:
        """Return the file, or class and position."""
        return self.file or f"{self.class_name}[{self.index}]"


@dataclass(frozen=True)
class Copies:
    """Copies of one kind in the same splits.

    Attributes:
        kind: how they are spread.
        splits: the splits that hold them.
        digests: of the copied items, one for each group.
        groups: equal items.
    """

    kind: CopyKind
    splits: tuple[str, ...]
    digests: Sequence[str]
    groups: Sequence[Sequence[Item]]

    @property
    def count(self) -> int:
        """Number of copies, the first of each item not counted."""
        return sum(len(equal) - 1 for equal in self.groups)


def copy_pairs(groups: Sequence[Sequence[Item]]) -> Iterator[str]:
    """Yield ``copy = first`` for each copy, with the split where these differ."""
    for first, *others in groups:
        for other in others:
            several = other.split != first.split
            yield f"{other.split} {other} = {first.split} {first}" if several else f"{other} = {first}"


def find_copies(splits: Mapping[str, ClassSplit], names: Mapping[str, Sequence[str]]) -> list[Copies]:
    """Return the copies in splits by kind; reads all items.

    Args:
        splits: by name.
        names: split to the name of each item; empty where items have none.
    """
    groups: dict[tuple[CopyKind, tuple[str, ...]], list[tuple[str, list[Item]]]] = defaultdict(list)
    for digest, places in duplicates(splits).items():
        items = [_item(place, splits, names) for place in places]
        for kind, where, equal in _grouped(items):
            groups[kind, where].append((digest, equal))
    kinds, order = ("repeated", "conflicting", "shared"), list(splits)

    def rank(place: tuple[CopyKind, tuple[str, ...]]) -> tuple[int, list[int]]:
        return kinds.index(place[0]), [order.index(split) for split in place[1]]

    return [
        Copies(kind, where, [digest for digest, _ in groups[kind, where]], [equal for _, equal in groups[kind, where]])
        for kind, where in sorted(groups, key=rank)
    ]


def _grouped(items: Sequence[Item]) -> Iterator[tuple[CopyKind, tuple[str, ...], list[Item]]]:
    """Yield the kinds of copies among equal items: in one class, in classes of a split, in splits."""
    by_class: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        by_class[item.split, item.class_name].append(item)
    firsts: dict[str, list[Item]] = defaultdict(list)
    for (split, _), members in by_class.items():
        firsts[split].append(members[0])
        if len(members) > 1:
            yield "repeated", (split,), members
    for split, members in firsts.items():
        if len(members) > 1:
            yield "conflicting", (split,), members
    if len(firsts) > 1:
        yield "shared", tuple(firsts), [members[0] for members in firsts.values()]


def _item(place: SplitRow, splits: Mapping[str, ClassSplit], names: Mapping[str, Sequence[str]]) -> Item:
    split, row = place
    data = splits[split]
    owner = int(np.searchsorted(data.starts, row, side="right")) - 1
    file = names[split][row] if names.get(split) else ""
    return Item(split, data.names[owner], row - int(data.starts[owner]), file)
