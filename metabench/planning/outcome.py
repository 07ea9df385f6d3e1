"""The outcome of one planned run: its record, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from metabench.records.schema import Record


@dataclass(frozen=True)
class Outcome:
    """A run's record, and whether it was there already."""

    record: Record
    cached: bool
