"""Outcome of a run: its record."""

from __future__ import annotations

from dataclasses import dataclass

from metabench.records.schema import Record


@dataclass(frozen=True)
class Outcome:
    """The record of a run, and whether it was in the store already."""

    record: Record
    cached: bool
