"""Forecasts of runs before anything is measured: known, to do, begun or impossible here, and how long they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from metabench.data.availability import USABLE, DatasetStatus, dataset_status
from metabench.errors import MetabenchError
from metabench.execution.run_data import known_run_digests
from metabench.execution.session import Session
from metabench.planning.cost_estimates import Estimates
from metabench.planning.data_digests import NO_DIGESTS, DataDigests
from metabench.planning.forecast import RunForecast, StageForecast
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.records.partial_scores import PartialScores
from metabench.registry.registry import availability
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec, kind_of
from metabench.registry.stage import Stage
from metabench.utils.hashing import content_key
from metabench.utils.text import pluralise


class RunForecaster:
    """A forecaster of runs in the order in which they would be measured; it loads no torch and decodes nothing."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.estimates = Estimates(session.store.records())
        self._availability: dict[str, DatasetStatus] = {}
        self._trained: set[str] = set()

    def forecast(self, planned: Planned) -> RunForecast:
        """Return the forecast of a run that follows the runs forecast before."""
        if isinstance(planned, RejectedRun):
            return RunForecast(planned.run, "impossible", "", str(planned.error), None)
        run = planned
        digests = known_run_digests(run, self.session.loader)
        key = content_key(run.inputs(digests)) if digests else ""
        if key and not self.session.rerun and self.session.store.find(key):
            return RunForecast(run, "cached", key)
        if missing := self._missing(run):
            return RunForecast(run, "missing", key, missing, None)
        downloads = self._downloads(run)
        stages = tuple(self._stages(run, digests))
        scored, words = self._scored(key, run.width)
        measuring = self.estimates.measure(run)
        left = max(0.0, 1 - scored / run.episodes)
        parts = [*(stage.seconds for stage in stages), None if measuring is None else measuring * left]
        seconds = None if None in parts else sum(part for part in parts if part is not None)
        begun = [text for text in (*(stage.detail for stage in stages), words) if text]
        return RunForecast(run, "partial" if begun else "to do", key, ", ".join(begun), seconds, downloads, stages)

    def _missing(self, run: RunSpec) -> str:
        """Return what a run needs and is missing here, with the remedy; empty where nothing is missing."""
        for choice in (run.algorithm, run.backbone, run.protocol):
            if why := availability(choice.spec):
                return f"{kind_of(choice.spec)} {choice.name} {why}"
        for data in map(self._data, (run.dataset, run.trained_on)):
            if data.presence not in USABLE:
                return data.detail
        return ""

    def _downloads(self, run: RunSpec) -> tuple[str, ...]:
        """Return what is downloaded before a run, one line for each dataset."""
        datasets = {dataset.spec.name: self._data(dataset) for dataset in (run.dataset, run.trained_on)}
        return tuple(f"{name}: {data.detail}" for name, data in datasets.items() if data.presence == "downloadable")

    def _data(self, dataset: ResolvedPlugin[DatasetSpec]) -> DatasetStatus:
        key = content_key(dataset.identity)
        if key not in self._availability:
            home, allow_download = self.session.home, self.session.loader.allow_download
            self._availability[key] = dataset_status(dataset.spec, dataset.params, home, allow_download)
        return self._availability[key]

    def _stages(self, run: RunSpec, digests: DataDigests | None) -> Iterator[StageForecast]:
        """Yield the forecast of each stage of training; those before cached weights are not needed."""
        keys = run.stage_keys(digests if digests is not None else NO_DIGESTS)
        home = self.session.home
        has_weights = [digests is not None and home.weights(key).exists() for key in keys]
        for index, (stage, key) in enumerate(zip(run.stages, keys, strict=True)):
            if any(has_weights[index:]):
                forecast = StageForecast(stage, "cached")
            elif key in self._trained:  # runs that differ in their evaluation alone share the weights
                forecast = StageForecast(stage, "shared")
            else:
                self._trained.add(key)
                forecast = self._begun(run, stage, home.models / key)
            yield dataclasses.replace(forecast, key="" if digests is None else key)

    def _begun(self, run: RunSpec, stage: Stage, folder: Path) -> StageForecast:
        whole, done = self.estimates.train(run, stage), _share_done(folder / "state.safetensors")
        if not done:
            return StageForecast(stage, "to do", seconds=whole)
        text = f"trained {int(done * stage.length):,} of {pluralise(stage.length, stage.unit)}"
        return StageForecast(stage, "partial", detail=text, seconds=None if whole is None else whole * (1 - done))

    def _scored(self, key: str, width: int) -> tuple[int, str]:
        """Return the number of episodes that are scored already, also in words ('' for 0)."""
        done = 0 if not key or self.session.rerun else len(PartialScores(self.session.store.root, key, width).load())
        return done, f"scored {pluralise(done, 'episode')}" if done else ""


def forecast_runs(planned: Sequence[Planned], session: Session) -> list[RunForecast]:
    """Return the forecast of each run of a plan, in order; weights that several runs share are trained by the first."""
    forecaster = RunForecaster(session)
    return [forecaster.forecast(run) for run in planned]


def _share_done(state: Path) -> float:
    """Return the share of a stage that a saved state has done; 0 where no state can be read."""
    try:
        meta = tensors_meta(state)
        return min(1.0, int(meta["position"]) / int(meta["positions"]))
    except (MetabenchError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return 0.0
