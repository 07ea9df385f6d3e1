"""The numbers of copies in a record's provenance, and the words for them.

An item is a copy where its bytes in the prepared array are those of another; the first of each is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.records.schema import Record

WITHIN_CLASS, BETWEEN_CLASSES, BETWEEN_SPLITS = "within_class", "between_classes", "between_splits"
_WORDS = {WITHIN_CLASS: "within a class", BETWEEN_CLASSES: "in another class", BETWEEN_SPLITS: "in training too"}
_MEANINGS = {
    WITHIN_CLASS: "support and query can be the same item",
    BETWEEN_CLASSES: "one item has two labels",
    BETWEEN_SPLITS: "items are measured that were learned from",
}
MARK = "†"
"""Stands beside the name of what has copies."""


def most(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest number of each kind."""
    listed = list(counts)
    largest = {kind: max((numbers.get(kind, 0) for numbers in listed), default=0) for kind in _WORDS}
    return {kind: number for kind, number in largest.items() if number}


def copies_words(counts: Mapping[str, int], explained: bool = False) -> str:
    """Return ``108 within a class, 3 in another class``, with what that means for a number where it is `explained`."""
    return ", ".join(
        f"{counts[kind]:,} {words}" + (f" ({_MEANINGS[kind]})" if explained else "")
        for kind, words in _WORDS.items()
        if counts.get(kind)
    )


def copies_line(counts_of: Mapping[str, Mapping[str, int]]) -> str:
    """Return the line below a table that explains the mark; '' where no dataset has copies."""
    listed = "; ".join(f"{name} {copies_words(counts, explained=True)}" for name, counts in counts_of.items() if counts)
    return f"{MARK}: items whose bytes equal another's, the first of each not counted: {listed}" if listed else ""


def marked_name(name: str, *counts: Mapping[str, int]) -> str:
    """Return the name of a dataset, with the mark where any of `counts` is not empty."""
    return f"{name} {MARK}" if any(counts) else name


def copies_note(records: Iterable[Record]) -> str:
    """Return `copies_line` for the datasets of records; '' where none has copies."""
    by_dataset: dict[str, list[Mapping[str, int]]] = {}
    for record in records:
        by_dataset.setdefault(record.inputs.dataset.name, []).append(record.copies)
    return copies_line({name: most(counts) for name, counts in by_dataset.items()})
