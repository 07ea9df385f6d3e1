"""Scoring the episodes of a run: partial scores are saved as they come, and taken up again after an interruption."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from metabench.episodes.tally import EpisodeTally
from metabench.errors import MetabenchError
from metabench.evaluation.scoring import Watch, evaluate
from metabench.execution.active_run import ActiveRun
from metabench.execution.episode_sources import MeasuredEpisodes
from metabench.execution.progress_text import interval_text
from metabench.execution.run_fingerprints import scorer_digest
from metabench.planning.run_spec import RunSpec
from metabench.records.partial_scores import PartialScores
from metabench.registry.metric import ACCURACY
from metabench.statistics.episode_scores import Floats, first_column
from metabench.statistics.stopping import checks
from metabench.statistics.summary import RunningMean
from metabench.utils.console import ProgressReporter
from metabench.utils.signals import StopRequest, stop_on_signal

FLUSH_SECONDS = 1.0
"""Scores are written to the partial file at most once in this many seconds."""


@dataclass(frozen=True)
class ScoredEpisodes:
    """The scores of a run.

    Attributes:
        scores: (episodes,), or (episodes, width) where a score has parts.
        tally: of the episodes.
        resumed: how many of them were scored before.
    """

    scores: Floats
    tally: EpisodeTally
    resumed: int


def score_run(
    active: ActiveRun, data: Tensor, episodes: MeasuredEpisodes, key: str, watch: Watch | None = None
) -> ScoredEpisodes:
    """Score the episodes of a run, from the partial file on.

    Args:
        active: with its weights in place.
        data: what its learner scores, see `ActiveRun.scorable`.
        episodes: those that are scored, unless a rule stops before.
        key: names the partial file.
        watch: called with each batch of episodes and the answers to its queries.

    Raises:
        OutputError: a plugin returned something else than its interface promises.
        KeyboardInterrupt: the user stopped; what is scored is saved.
    """
    run, session = active.run, active.session
    source, most = episodes.source, episodes.most
    partial = PartialScores(session.store.root, key, run.width, scorer_digest(active.learner, source))
    if session.rerun:
        partial.remove()
    done = partial.load()[:most]
    if run.stop is not None and (end := run.stop.reached(done)):
        done, most = done[:end], end  # stopped, and killed before the record was written
    stops = [] if run.stop is None else list(checks(most))
    with session.console.progress(run.label, most) as bar, stop_on_signal() as stop:
        log = _ScoreLog(run, type(source.protocol).__name__, partial, done, stops, bar, stop)
        try:
            tally = evaluate(active.learner, data, source, most, done, log.add, stops=stops, watch=watch)
        except BaseException:  # whatever it is, what is scored is kept
            log.flush()
            raise
    return ScoredEpisodes(log.all(), tally, len(done))


@dataclass
class _ScoreLog:
    """Scores as they come: shown, saved now and then, and compared with the rule that stops."""

    run: RunSpec
    protocol: str
    partial: PartialScores
    done: Floats
    stops: list[int]
    bar: ProgressReporter
    stop: StopRequest
    scores: list[Floats] = field(default_factory=list)
    unsaved: list[Floats] = field(default_factory=list)
    running: RunningMean = field(default_factory=RunningMean)
    saved_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._count(self.done)

    def add(self, scores: Floats) -> bool:
        """Take the scores of the next episodes; return whether to stop here.

        Raises:
            MetabenchError: the scores have other parts than the protocol's spec says.
            KeyboardInterrupt: the user asked to stop.
        """
        if scores.shape[1:] != self.done.shape[1:]:
            parts = self.run.parts
            raise MetabenchError(f"{self.protocol}.values returns {scores.shape[1:]}, and its spec has parts {parts}")
        self.unsaved.append(scores)
        self._count(scores)
        self.bar.update(self.running.count, interval_text(self.running.interval, self.run.metric))
        if time.monotonic() - self.saved_at > FLUSH_SECONDS:
            self.flush()
            self.saved_at = time.monotonic()
        if self.stop.requested:
            raise KeyboardInterrupt
        if self.run.stop is None or self.running.count not in self.stops:
            return False
        return self.run.stop.reached(self.all()) is not None

    def flush(self) -> None:
        """Append the scores that are not saved yet to the partial file."""
        if self.unsaved:
            self.partial.append(np.concatenate(self.unsaved))
            self.unsaved.clear()

    def all(self) -> Floats:
        """Return the scores of all episodes so far."""
        return np.concatenate(self.scores)

    def _count(self, scores: Floats) -> None:
        self.scores.append(scores)
        self.running.add((100.0 if self.run.metric == ACCURACY else 1.0) * first_column(scores))
