"""Forecasts of runs before anything is measured: known, to do, begun or impossible here, and how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metabench.data.availability import USABLE, DatasetStatus, dataset_status
from metabench.errors import MetabenchError
from metabench.execution.run_data import known_run_digests
from metabench.execution.session import Session
from metabench.planning.cost_estimates import Estimates
from metabench.planning.data_digests import DataDigests
from metabench.planning.forecast import RunForecast
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.records.partial_scores import PartialScores
from metabench.registry.registry import availability
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec, kind_of
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
        training, trained = self._training(run, digests)
        scored, words = self._scored(key, run.width)
        measuring = self.estimates.measure(run)
        left = max(0.0, 1 - scored / run.episodes)
        seconds = None if training is None or measuring is None else training + measuring * left
        begun = [text for text in (trained, words) if text]
        return RunForecast(run, "partial" if begun else "to do", key, ", ".join(begun), seconds, downloads)

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

    def _training(self, run: RunSpec, digests: DataDigests | None) -> tuple[float | None, str]:
        """Return the seconds of training that are left, and its progress in words; None and '' where unknown."""
        if run.recipe is None:
            return 0.0, ""
        key = run.training_key(digests) if digests else run.identity
        folder = self.session.home.models / key
        if key in self._trained or (folder / "weights.safetensors").exists():
            return 0.0, ""  # runs that differ in their evaluation alone share the weights
        self._trained.add(key)
        whole, done = self.estimates.train(run), _trained_episodes(folder / "state.safetensors")
        if not done:
            return whole, ""
        share = 1 - min(done, run.recipe.episodes) / run.recipe.episodes
        return (
            None if whole is None else whole * share,
            f"trained {done:,} of {pluralise(run.recipe.episodes, 'episode')}",
        )

    def _scored(self, key: str, width: int) -> tuple[int, str]:
        """Return the number of episodes that are scored already, also in words ('' for 0)."""
        done = 0 if not key or self.session.rerun else len(PartialScores(self.session.store.root, key, width).load())
        return done, f"scored {pluralise(done, 'episode')}" if done else ""


def forecast_runs(planned: Sequence[Planned], session: Session) -> list[RunForecast]:
    """Return the forecast of each run of a plan, in order; weights that several runs share are trained by the first."""
    forecaster = RunForecaster(session)
    return [forecaster.forecast(run) for run in planned]


def _trained_episodes(state: Path) -> int:
    """Return the number of training episodes that a saved state has done; 0 where no state can be read."""
    try:
        return int(tensors_meta(state)["episode"])
    except (MetabenchError, ValueError, KeyError, TypeError):
        return 0
