"""Forecast of a run before it is made: its state, its key, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from metabench.errors import MissingError, UsageError
from metabench.planning.run_spec import RunSpec

State = Literal["cached", "partial", "to do", "missing", "impossible"]


NOT_MADE: Mapping[State, int] = {"missing": MissingError.exit_code, "impossible": UsageError.exit_code}
"""States in which a run is not made, with the exit code that says so."""


@dataclass(frozen=True)
class RunForecast:
    """A run before it is made.

    Attributes:
        state: ``cached``, its record is there; ``partial``, it goes on where it stopped; ``missing``, something that it
            needs is not here; ``impossible``, its parts do not go together.
        key: of the run; empty where the digests of its data are not known yet.
        detail: how far it is, or what is missing and how to get it, or why it cannot be.
        seconds: what is left to do takes about this long, without downloads; None where nothing similar was measured.
        downloads: what is downloaded for it first, by data set; empty if nothing is.
    """

    run: RunSpec
    state: State
    key: str
    detail: str = ""
    seconds: float | None = 0.0
    downloads: tuple[str, ...] = ()
