"""Forecast of a run before it is executed: its state, its key, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from metabench.errors import MissingError, UsageError
from metabench.planning.run_spec import RunSpec

State = Literal["cached", "partial", "to do", "missing", "impossible"]

NOT_MADE: Mapping[State, int] = {"missing": MissingError.exit_code, "impossible": UsageError.exit_code}
"""States in which a run is not executed, with the exit code for each."""


@dataclass(frozen=True)
class RunForecast:
    """A run before it is executed.

    Attributes:
        state: ``cached``, its record is in the store; ``partial``, it continues where it stopped; ``missing``,
            something that it needs is not here; ``impossible``, its parts are incompatible.
        key: of the run; empty where the digests of its data are not known yet.
        detail: how much of it is done, what is missing and how to get it, or why it is impossible.
        seconds: estimated time of the rest, without downloads; None where nothing similar was measured.
        downloads: datasets that are downloaded for it first.
    """

    run: RunSpec
    state: State
    key: str
    detail: str = ""
    seconds: float | None = 0.0
    downloads: tuple[str, ...] = ()
