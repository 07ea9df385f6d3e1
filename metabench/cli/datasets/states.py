"""States of datasets on this machine, over all of their class splits: the same words in every command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from metabench.data.availability import Presence

YOURS: Final = "yours"
"""State of a dataset that is nothing without a path from the user."""
_LEAST_USABLE_FIRST: tuple[Presence, ...] = (
    "broken", "unavailable", "missing", "downloadable", "not prepared", "prepared", "built in",
)  # fmt: skip


def least_usable(states: Sequence[Presence]) -> Presence:
    """Return the state of the class split that can be used least."""
    return min(states, key=_LEAST_USABLE_FIRST.index)


def counted_states(states: Sequence[Presence]) -> str:
    """Return the state of all class splits; where they differ, the number of each."""
    counts = Counter(states)
    if len(counts) == 1:
        return states[0]
    return ", ".join(f"{count} of {len(states)} folds {state}" for state, count in counts.items())
