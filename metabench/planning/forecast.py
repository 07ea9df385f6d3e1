"""Forecast of a run before it is executed: its state, its key, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from metabench.errors import MissingError, UsageError
from metabench.planning.run_spec import RunSpec
from metabench.registry.stage import Stage
from metabench.utils.text import pluralise

State = Literal["cached", "partial", "to do", "missing", "impossible"]

NOT_MADE: Mapping[State, int] = {"missing": MissingError.exit_code, "impossible": UsageError.exit_code}
"""States in which a run is not executed, with the exit code for each."""


@dataclass(frozen=True)
class StageForecast:
    """A stage of training before it is done.

    Attributes:
        stage: what is done.
        state: ``cached``, its weights are there; ``partial``, it continues where it stopped; ``to do``; ``shared``, an
            earlier run of the plan does it.
        key: of its weights; empty where the digests of the data are not known yet.
        detail: how much of it is done.
        seconds: estimated time of the rest; None where nothing similar was measured.
    """

    stage: Stage
    state: Literal["cached", "partial", "to do", "shared"]
    key: str = ""
    detail: str = ""
    seconds: float | None = 0.0

    def __str__(self) -> str:
        length = pluralise(self.stage.length, self.stage.unit)
        objective = "" if self.stage.is_episodic else " of classes"
        return f"{self.stage.name}: {length}{objective}, {self.detail or self.state}"


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
        stages: of its training, in order.
    """

    run: RunSpec
    state: State
    key: str
    detail: str = ""
    seconds: float | None = 0.0
    downloads: tuple[str, ...] = ()
    stages: tuple[StageForecast, ...] = ()
