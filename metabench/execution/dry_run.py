"""What a plan comes to before anything is measured: known, to do, begun or impossible here, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metabench.data.availability import USABLE, Found, look
from metabench.errors import MetabenchError
from metabench.execution.session import Session
from metabench.planning.cost_estimates import Estimates
from metabench.planning.forecast import RunForecast
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.records.partial_scores import Partial
from metabench.registry.registry import availability, kind_of
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec
from metabench.utils.hashing import content_key
from metabench.utils.text import counted


class Surveyor:
    """Looks at runs one after the other, as they would be made; loads no torch and decodes nothing."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.estimates = Estimates(session.store.records())
        self._found: dict[str, Found] = {}
        self._trained: set[str] = set()

    def look(self, planned: Planned) -> RunForecast:
        """Return what a run comes to after those that were looked at before."""
        if isinstance(planned, RejectedRun):
            return RunForecast(planned.run, "impossible", "", str(planned.error), None)
        run = planned
        digests = self.session.known_digests_of(run)
        key = content_key(run.inputs(digests)) if digests else ""
        if key and not self.session.rerun and self.session.store.find(key):
            return RunForecast(run, "cached", key)
        if lacking := self._lacking(run):
            return RunForecast(run, "missing", key, lacking, None)
        fetched = self._fetched(run)
        training, trained = self._training(run, digests)
        scored, words = self._scored(key, run.width)
        measuring = self.estimates.measure(run)
        left = max(0.0, 1 - scored / run.episodes)
        seconds = None if training is None or measuring is None else training + measuring * left
        begun = [text for text in (trained, words) if text]
        return RunForecast(run, "partial" if begun else "to do", key, ", ".join(begun), seconds, fetched)

    def _lacking(self, run: RunSpec) -> str:
        """What a run needs and is not here, with what to do; empty if nothing is."""
        for choice in (run.algorithm, run.backbone, run.protocol):
            if why := availability(choice.spec):
                return f"{kind_of(choice.spec)} {choice.name} {why}"
        for found in map(self._data, (run.dataset, run.trained_on)):
            if found.presence not in USABLE:
                return found.detail
        return ""

    def _fetched(self, run: RunSpec) -> tuple[str, ...]:
        """What is downloaded before a run, one line for each data set."""
        found = {dataset.spec.name: self._data(dataset) for dataset in (run.dataset, run.trained_on)}
        return tuple(f"{name}: {each.detail}" for name, each in found.items() if each.presence == "downloadable")

    def _data(self, dataset: ResolvedPlugin) -> Found:
        key = content_key(dataset.identity)
        if key not in self._found:
            assert isinstance(dataset.spec, DatasetSpec)
            self._found[key] = look(dataset.spec, dataset.params, self.session.home, self.session.allow_download)
        return self._found[key]

    def _training(self, run: RunSpec, digests: Mapping[str, str] | None) -> tuple[float | None, str]:
        """Return the seconds of training that are left, and how far it is."""
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
            f"trained {done:,} of {counted(run.recipe.episodes, 'episode')}",
        )

    def _scored(self, key: str, width: int) -> tuple[int, str]:
        """Return how many episodes are scored already, and that in words."""
        done = 0 if not key or self.session.rerun else len(Partial(self.session.store.root, key, width).load())
        return done, f"scored {counted(done, 'episode')}" if done else ""


def survey(planned: Sequence[Planned], session: Session) -> list[RunForecast]:
    """Return what each run of a plan comes to, in order; weights that several share are trained by the first."""
    surveyor = Surveyor(session)
    return [surveyor.look(each) for each in planned]


def _trained_episodes(state: Path) -> int:
    """Return how many training episodes a saved state has behind it; 0 if there is none that can be read."""
    try:
        return int(tensors_meta(state)["episode"])
    except (MetabenchError, ValueError, KeyError, TypeError):
        return 0
