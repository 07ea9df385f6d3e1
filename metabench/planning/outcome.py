"""The outcome of one planned run: its record, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A run's record, and whether it was there already."""

    record: Mapping[str, Any]
    cached: bool
