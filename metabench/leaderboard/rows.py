"""Records grouped into rows: runs that differ in their column and in the seed of their training."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from metabench.comparison.seed_groups import over_seeds
from metabench.leaderboard.entries import Column, Entry
from metabench.records.inputs import TrainingInputs, as_plain
from metabench.records.schema import Record
from metabench.registry.metric import Metric
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.means import is_rankable
from metabench.statistics.shared_episodes import Run, covariances
from metabench.statistics.summary import summarise
from metabench.utils.hashing import canonical_json, content_key

_OF_THE_CELL = ("way", "shot", "query", "episodes")
STATISTICS = "bn"
"""The algorithm parameter for the batch statistics that normalise in evaluation."""


@dataclass(frozen=True)
class CellResult:
    """The result of a row in one column.

    Attributes:
        entries: the runs, one for each seed of the training.
        score: mean over seeds and episodes, in the unit of `metric`: percent for accuracy.
        ci95: half-width of the interval over episodes; None for one episode.
        kind: what `ci95` is, see `metabench.statistics.summary.Summary`.
        open95: half-width of the interval for new classes and examples; None where the scores cannot tell.
        seed_sd: sample standard deviation of the score between seeds; None for one seed.
        note: a remark for readers; '' without one.
        total95, total_open95: half-widths that hold for another training too (`metabench.statistics.seeds`); None for
            one seed.
    """

    entries: tuple[Entry, ...]
    score: float
    ci95: float | None
    kind: str
    open95: float | None
    seed_sd: float | None
    note: str
    total95: float | None = None
    total_open95: float | None = None

    @property
    def metric(self) -> Metric:
        """The metric of the score."""
        return self.entries[0].cell.metric

    @property
    def merit(self) -> float:
        """The score with the sign that makes larger better."""
        return self.metric.sign * self.score

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs in the form that means and tests take."""
        return tuple(entry.record.run for entry in self.entries)

    @property
    def is_rankable(self) -> bool:
        """True if the result can have a rank, which a single episode cannot."""
        return is_rankable(self.runs)

    @cached_property
    def digest(self) -> str:
        """The digest of the episodes. '' where seeds had different ones."""
        digests = {entry.record.measured.episodes_digest for entry in self.entries}
        return digests.pop() if len(digests) == 1 else ""

    @cached_property
    def merits(self) -> NDArray[np.float64]:
        """The score of each episode, larger is better, mean over seeds that met the same episodes, (episodes,)."""
        return EpisodeScores.mean([run.scores for run in self.runs]).merits


@dataclass(frozen=True)
class BoardRow:
    """A row of a page: runs that differ only in their column and in the seed of their training."""

    cells: Mapping[Column, CellResult]
    identity: str
    """Digest of what the runs of the row share; the same row has the same in any state of the folder."""

    @property
    def first(self) -> Entry:
        """The first entry, for what all entries of the row share."""
        return self.cells[min(self.cells)].entries[0]

    @property
    def entries(self) -> list[Entry]:
        """All runs of the row, by column and seed."""
        return [entry for cell in sorted(self.cells) for entry in self.cells[cell].entries]

    @cached_property
    def floor(self) -> bool:
        """True if nothing was learned: no training, no weights from a file, no pre-training."""
        inputs = self.first.inputs
        return inputs.training is None and not inputs.backbone.trained_on

    @property
    def statistics(self) -> str:
        """The batch statistics that normalise in evaluation; '' where the algorithm does not say."""
        return str(self.first.inputs.algorithm.params.get(STATISTICS, ""))

    @property
    def setting(self) -> str:
        """``inductive`` or ``transductive``: statistics over the queries make any algorithm transductive."""
        setting = self.first.inputs.algorithm.setting
        return "transductive" if self.statistics == "transductive" else setting

    @property
    def seeds(self) -> int:
        """The largest number of training seeds in a column; 0 where nothing was trained."""
        trained = self.first.inputs.training is not None
        return max(len(result.entries) for result in self.cells.values()) if trained else 0


def group_rows(entries: Iterable[Entry]) -> list[BoardRow]:
    """Return the rows of one variant, best first.

    Runs of one row agree in everything but their column, which is of the protocol's parameters, way and shot of the
    training, its seed, and the number of training episodes, which the page shows. Weights from a file count as trained
    where their training is known. Where that would put into one cell two trainings that differ in more than the seed,
    the whole group is divided by the number of training episodes, if that is not enough by all of how they were
    trained, and if the same weights are twice in one cell, by whether they came from a file.
    """
    return _sorted(_divided(list(entries), (_coarse_key, _length_key, _exact_key, _own_key)))


def _divided(entries: Sequence[Entry], keys: Sequence[Callable[[Entry], str]]) -> list[BoardRow]:
    """Return rows of entries with the same first key, divided by the next one where they do not fit together."""
    key, *finer = keys
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    rows = []
    for same, members in groups.items():
        rows += _divided(members, finer) if finer and not _fit_together(members) else [_row(members, same)]
    return rows


def _fit_together(members: Sequence[Entry]) -> bool:
    """Return whether the runs of each cell differ in the seed of the training, and in nothing else."""
    seen: dict[Column, set[int | None]] = defaultdict(set)
    trainings: dict[Column, str] = {}
    for entry in members:
        key = _exact_key(entry)
        if trainings.setdefault(entry.cell, key) != key or entry.seed in seen[entry.cell]:
            return False
        seen[entry.cell].add(entry.seed)
    return True


def _coarse_key(entry: Entry) -> str:
    return _key(entry, entry.training, lambda name: name == "seed" or name.endswith(_OF_THE_CELL))


def _length_key(entry: Entry) -> str:
    loose = (*(name for name in _OF_THE_CELL if name != "episodes"), "validation_episodes")
    return _key(entry, entry.training, lambda name: name == "seed" or name.endswith(loose))


def _exact_key(entry: Entry) -> str:
    return _key(entry, entry.training, lambda name: name == "seed")


def _own_key(entry: Entry) -> str:
    return _key(entry, entry.inputs.training, lambda name: name == "seed")


def _key(entry: Entry, training: TrainingInputs | None, drop: Callable[[str], bool]) -> str:
    kept = training and {name: value for name, value in as_plain(training).items() if not drop(name)}
    return canonical_json({**as_plain(entry.inputs), "protocol": entry.inputs.protocol.name, "training": kept})


def _row(members: Sequence[Entry], key: str) -> BoardRow:
    by_cell: dict[Column, list[Entry]] = defaultdict(list)
    for entry in members:
        by_cell[entry.cell].append(entry)
    return BoardRow({cell: _result(same) for cell, same in by_cell.items()}, content_key(key))


def _result(entries: Sequence[Entry]) -> CellResult:
    runs = tuple(sorted(entries, key=lambda entry: (entry.seed or 0, entry.key)))
    if len(runs) == 1:
        only = runs[0].record.summary
        return CellResult(runs, only.mean, only.ci95, only.interval, only.open95, None, only.note)
    (over,) = over_seeds(map(_with_training, runs))
    total = over.total95, over.total_open95
    return CellResult(runs, over.score, *_together(runs), over.seed_sd, _note(runs), *total)


def _with_training(entry: Entry) -> Record:
    """Return a record as if the weights that it had from a file had been trained in its run."""
    return structs.replace(entry.record, inputs=structs.replace(entry.inputs, training=entry.training))


def _note(runs: Sequence[Entry]) -> str:
    notes = dict.fromkeys(entry.record.summary.note for entry in runs)
    return "; ".join(filter(None, [*notes, _different([entry.record.run for entry in runs])]))


def _different(runs: Sequence[Run]) -> str:
    """Return a note on how far seeds met different episodes; '' if all met the same."""
    shared = min(one.shared(two) for one, two in itertools.pairwise(runs))
    if all(runs[0].scores.paired(run.scores) for run in runs):
        return ""
    return f"seeds share their first {shared:,} episodes" if shared else "seeds on different episodes"


def _together(runs: Sequence[Entry]) -> tuple[float | None, str, float | None]:
    """Return the closed half-width of the mean over seeds, its kind, and the open half-width.

    On the same episodes the seeds' scores are averaged episode by episode and class by class. Otherwise, and where
    runs stopped by their width, the closed intervals are put together with the correlation that shared episodes give
    the means; the open ones are averaged, which is on the safe side.
    """
    measured, evaluation = [entry.record.run for entry in runs], runs[0].inputs.evaluation
    scores = [run.scores for run in measured]
    if evaluation.stop is None and all(scores[0].paired(other) for other in scores):
        summary = summarise(EpisodeScores.mean(scores), evaluation.sampling)
        return summary.ci95, summary.kind, summary.open95
    summaries = [entry.record.summary for entry in runs]
    closed = [summary.ci95 for summary in summaries]
    opened = [summary.open95 for summary in summaries if summary.open95 is not None]
    half = None if None in closed else _half_width_of_mean(np.array(closed), measured)
    return half, summaries[0].interval, None if len(opened) < len(runs) else float(np.mean(opened))


def _half_width_of_mean(halves: NDArray[np.float64], runs: Sequence[Run]) -> float:
    """Return the half-width of the mean of runs with these half-widths."""
    products, together = covariances(runs)
    sd = np.sqrt(np.diag(products))
    # The correlation is undefined where a run does not vary.
    correlation = np.divide(products, np.outer(sd, sd), out=together.astype(np.float64), where=np.outer(sd, sd) > 0)
    return math.sqrt(max(0.0, float(halves @ correlation @ halves))) / len(runs)


def _sorted(rows: list[BoardRow]) -> list[BoardRow]:
    """Sort by merit in the first column, then the next; rows without a value there, or of one episode, come last."""
    columns = sorted({cell for row in rows for cell in row.cells})

    def order(row: BoardRow) -> tuple[Any, ...]:
        known = [row.cells.get(cell) for cell in columns]
        merits = [result.merit if result is not None and result.is_rankable else -math.inf for result in known]
        return (*(-merit for merit in merits), row.first.key)

    return sorted(rows, key=order)
