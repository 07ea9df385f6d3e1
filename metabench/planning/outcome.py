"""Outcome of a run: its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """The record of a run, and whether it was in the store already."""

    record: Mapping[str, Any]
    cached: bool
