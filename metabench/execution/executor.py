"""One run to one record: weights, features, scores."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import Any

import torch

from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.evaluation.scoring import Watch
from metabench.execution.active_run import ActiveRun
from metabench.execution.episode_sources import measured_episodes
from metabench.execution.feature_cache import FeatureCache
from metabench.execution.preflight import check_run
from metabench.execution.run_data import run_digests, unofficial_pixels
from metabench.execution.score_run import score_run
from metabench.execution.session import Session
from metabench.execution.weights import prepare_weights
from metabench.learners.factory import check_learner, make_run_learner
from metabench.models.output_checks import OutputError
from metabench.planning.data_digests import DataDigests
from metabench.planning.outcome import Outcome
from metabench.planning.run_spec import RunSpec
from metabench.records.partial_scores import PartialScores
from metabench.records.record import Record, build_record
from metabench.runtime.devices import choose_device, emulates
from metabench.runtime.memory import machine_failed
from metabench.runtime.memory_limits import forget_peak_memory, keep_freed_memory, peak_memory_mb
from metabench.runtime.provenance import run_provenance
from metabench.runtime.torch_state import standard_torch
from metabench.utils.hashing import content_key


@dataclass(frozen=True)
class Measurement:
    """Measured values of a run, as its record keeps them.

    Attributes:
        scores: of the episodes.
        training: the course of the training; None where nothing was trained.
        cost: seconds, memory and parameters.
    """

    scores: dict[str, Any]
    training: dict[str, Any] | None
    cost: dict[str, Any]


class Executor:
    """Executes runs one after the other on one device, and keeps features that they share.

    Args:
        session: shared by the runs.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.device = choose_device(session.device_name)
        if self.device.type == "cpu":
            keep_freed_memory()
        self._features = FeatureCache(session, self.device)
        self._warned: set[str] = set()

    @standard_torch()
    def preflight(self, run: RunSpec) -> None:
        """Raise an error for what can be known to fail before hours of work.

        An error of a plugin's own code is only noted, so that other runs go on: it will be raised again and recorded.

        Raises:
            UsageError, MissingError, OSError: the run cannot be measured.
        """
        try:
            check_run(run, self.session, self.device)
        except (MetabenchError, OSError) as error:
            if not isinstance(error, OutputError):
                raise
        except (Exception, SystemExit) as error:
            self.session.console.note(f"{run.label}: {type(error).__name__} in a trial: {error}")

    @standard_torch()
    def execute(self, run: RunSpec) -> Outcome:
        """Measure a run and store its record; a failure becomes a record too.

        Raises:
            UsageError, MissingError, OSError: not the run's fault, so nothing is recorded.
            KeyboardInterrupt: after recording the run as interrupted.
        """
        digests = run_digests(run, self.session.loader)
        inputs = run.inputs(digests)
        key = content_key(inputs)
        store = self.session.store
        with store.lock(key):
            if not self.session.rerun and (record := store.find(key)):
                return Outcome(record, True)  # another process was faster
            keeps_partial = False
            try:
                measured = self.measure(run, digests, key)
                record = build_record(inputs, "ok", **vars(measured), provenance=self._provenance(run))
            except (UsageError, MissingError, OSError):
                raise
            except KeyboardInterrupt:
                store.put(build_record(inputs, "interrupted", provenance=self._provenance(run)))
                raise
            except (Exception, SystemExit) as error:  # a plugin's own code may end in any way
                record = self._failed(run, inputs, error)
                keeps_partial = machine_failed(error)
            path = store.put(record)
            if not keeps_partial:
                PartialScores(store.root, key).remove()
        for warning in self.session.registry.plugins.run_finished(record, str(path)):
            self.session.console.warn(warning)
        return Outcome(record, False)

    @standard_torch()
    def replay_run(self, run: RunSpec, watch: Watch | None = None) -> Measurement:
        """Measure a run and store nothing; `watch` sees every answer."""
        digests = run_digests(run, self.session.loader)
        key = content_key(["replay", run.inputs(digests)])
        with self.session.store.lock(key):
            partial = PartialScores(self.session.store.root, key)
            if watch is not None:  # it must also see the answers that an interrupted replay scored
                partial.remove()
            measured = self.measure(run, digests, key, watch)
            partial.remove()
        return measured

    def measure(self, run: RunSpec, digests: DataDigests, key: str, watch: Watch | None = None) -> Measurement:
        """Train or load the weights of a run, and score its episodes.

        Args:
            run: what is measured.
            digests: of its data.
            key: names the partial file.
            watch: called with each batch of episodes and the answers to its queries.
        """
        forget_peak_memory()
        started = time.perf_counter()
        if emulates(self.device, run.precision):
            slow = f"this processor has no arithmetic in {run.precision} and takes many times as long as in float32"
            self._warn_once(slow)
        loader = self.session.loader
        learner = make_run_learner(run, loader.split(run.dataset, run.split).item_shape, self.device)
        active = ActiveRun(run, digests, learner, self.session, self._features)
        training = prepare_weights(active)
        trained = time.perf_counter()
        data = active.scorable()
        embedded = time.perf_counter()
        episodes = measured_episodes(run, loader, digests)
        # What is trained was accepted in `preflight`, before any training.
        memory = self.session.memory if not run.stages else self.session.memory.accepted()
        check_learner(run, learner, None, episodes.source, memory)
        scored = score_run(active, data, episodes, key, watch)
        ended = time.perf_counter()
        cost = {
            "seconds": round(ended - started, 3),
            "training_seconds": round(trained - started, 3),
            "embedding_seconds": round(embedded - trained, 3),
            "scoring_seconds": round(ended - embedded, 3),
            "episodes_per_second": round((len(scored.scores) - scored.resumed) / max(1e-9, ended - embedded), 1),
            "peak_memory_mb": round(peak_memory_mb() + learner.beside_mb, 1),
            "parameters": sum(_parameters(module) for module in (learner.module, learner.frozen) if module is not None),
        }
        return Measurement(scored.tally.record(scored.scores, run.metric, run.parts), training, cost)

    def _failed(self, run: RunSpec, inputs: dict[str, Any], error: BaseException) -> Record:
        """Warn of an error that ended a run, and return the record of the failure."""
        message = " ".join(str(error).split())[:2000]
        kind = "" if isinstance(error, MetabenchError) else type(error).__name__
        self._warn_once(f"{run.label} failed: {': '.join(filter(None, (kind, message)))}")
        if self.session.console.verbose:
            self.session.console.note(traceback.format_exc())
        fault = {"type": type(error).__name__, "message": message}
        return build_record(inputs, "failed", provenance=self._provenance(run), error=fault)

    def _provenance(self, run: RunSpec) -> dict[str, Any]:
        """Return where and with what a record was made.

        `local` keeps the record off leaderboards, `pixels` are not official, `copies` count repeated items.
        """
        remarks = {
            "local": run.local,
            "pixels": unofficial_pixels(run, self.session.loader),
            "copies": self.session.copies.count(run),
        }
        return {**run_provenance(self.device), **{name: value for name, value in remarks.items() if value}}

    def _warn_once(self, text: str) -> None:
        """Warn, but not again for every seed."""
        if text not in self._warned:
            self._warned.add(text)
            self.session.console.warn(text)


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
