"""What a plan comes to before anything is measured: known, to do, begun or impossible here, and how long it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metabench.estimate import Estimates
from metabench.inspection import USABLE, Found, look
from metabench.keys import content_key
from metabench.plan import Choice, RunSpec
from metabench.registry import availability, kind_of
from metabench.session import Session
from metabench.specs import DatasetSpec
from metabench.store import Partial

State = Literal["cached", "partial", "to do", "missing"]


@dataclass(frozen=True)
class Prospect:
    """A run before it is made.

    Attributes:
        state: ``cached``, its record is there; ``partial``, it goes on where it stopped; ``missing``, it lacks something.
        key: of the run; empty where the digests of its data are not known yet.
        detail: how far it is, or what is missing and how to get it.
        seconds: what is left to do takes about this long; None where nothing similar was measured.
    """

    run: RunSpec
    state: State
    key: str
    detail: str = ""
    seconds: float | None = 0.0


class Surveyor:
    """Looks at runs one after the other, as they would be made; loads no torch and decodes nothing."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.estimates = Estimates(session.store.records())
        self._found: dict[str, Found] = {}
        self._trained: set[str] = set()

    def look(self, run: RunSpec) -> Prospect:
        """Return what a run comes to after those that were looked at before."""
        digests = self.session.known_digests(run.dataset)
        key = content_key(run.inputs(digests)) if digests else ""
        if key and not self.session.rerun and self.session.store.find(key):
            return Prospect(run, "cached", key)
        if lacking := self._lacking(run):
            return Prospect(run, "missing", key, lacking, None)
        training, trained = self._training(run, digests)
        scored, words = self._scored(key)
        measuring = self.estimates.measure(run)
        seconds = None if None in (training, measuring) else training + measuring * (1 - scored / run.episodes)
        begun = [text for text in (trained, words) if text]
        return Prospect(run, "partial" if begun else "to do", key, ", ".join(begun), seconds)

    def _lacking(self, run: RunSpec) -> str:
        """What a run needs and is not here, with what to do; empty if nothing is."""
        for choice in (run.algorithm, run.backbone, run.protocol):
            if why := availability(choice.spec):
                return f"{kind_of(choice.spec)} {choice.spec.name} {why}"
        found = self._data(run.dataset)
        return "" if found.presence in USABLE else found.detail

    def _data(self, dataset: Choice) -> Found:
        key = content_key(dataset.inputs())
        if key not in self._found:
            assert isinstance(dataset.spec, DatasetSpec)
            self._found[key] = look(dataset.spec, dataset.params, self.session.home)
        return self._found[key]
