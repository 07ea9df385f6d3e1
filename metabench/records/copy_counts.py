"""The numbers of copies in a record's provenance, and the words for them; imports nothing.

An item is a copy where its bytes in the prepared array are those of another; the first of each is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

WITHIN_CLASS, BETWEEN_CLASSES, BETWEEN_SPLITS = "within_class", "between_classes", "between_splits"
_WORDS = {WITHIN_CLASS: "within a class", BETWEEN_CLASSES: "in another class", BETWEEN_SPLITS: "in training too"}
_MEANINGS = {
    WITHIN_CLASS: "support and query can be the same item",
    BETWEEN_CLASSES: "one item has two labels",
    BETWEEN_SPLITS: "items are measured that were learned from",
}
MARK = "†"
"""Stands beside the name of what has copies."""


def copies_of(record: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of copies by kind, as a record's provenance holds them; empty where it says nothing."""
    return dict(record.get("provenance", {}).get("copies", {}))


def most(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest number of each kind."""
    listed = list(counts)
    largest = {kind: max((each.get(kind, 0) for each in listed), default=0) for kind in _WORDS}
    return {kind: number for kind, number in largest.items() if number}


def copies_words(counts: Mapping[str, int], explained: bool = False) -> str:
    """Return ``108 within a class, 3 in another class``, with what that means for a number where it is `explained`."""
    return ", ".join(
        f"{counts[kind]:,} {words}" + (f" ({_MEANINGS[kind]})" if explained else "")
        for kind, words in _WORDS.items()
        if counts.get(kind)
    )


def copies_line(counts_of: Mapping[str, Mapping[str, int]]) -> str:
    """Return the line below a table that explains the mark; '' where no data set has copies."""
    each = "; ".join(f"{name} {copies_words(counts, explained=True)}" for name, counts in counts_of.items() if counts)
    return f"{MARK}: items whose bytes equal another's, the first of each not counted: {each}" if each else ""


def marked_name(name: str, *counts: Mapping[str, int]) -> str:
    """Return the name of a data set, with the mark where any of `counts` is not empty."""
    return f"{name} {MARK}" if any(counts) else name


def copies_note(records: Iterable[Mapping[str, Any]]) -> str:
    """Return `copies_line` for the data sets of records; '' where none has copies."""
    found: dict[str, list[Mapping[str, int]]] = {}
    for record in records:
        found.setdefault(record["inputs"]["dataset"]["name"], []).append(copies_of(record))
    return copies_line({name: most(counts) for name, counts in found.items()})


def copies_problem(value: Any) -> str:
    """Return what is wrong with a record's numbers of copies, '' if nothing is."""
    if not isinstance(value, dict) or not set(value) <= set(_WORDS):
        return f"is not an object of {', '.join(_WORDS)}"
    if not all(type(number) is int and 1 <= number <= 10**9 for number in value.values()):
        return "holds something other than integers in [1, 1000000000]"
    return ""
