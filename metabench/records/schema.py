"""The schema of a record, as types: decoding checks every field and refuses those that are not known.

What is more than a type, digests that recompute and sums that agree, is in `metabench.records.consistency`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from metabench.records.inputs import MAX_STAGES, Amount, Count, Inputs, Number, Short
from metabench.records.scores import Scores
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.params import Value
from metabench.statistics.shared_episodes import Run

SCHEMA: Final = 1
Status = Literal["ok", "failed", "skipped", "interrupted"]
CopyKind = Annotated[str, Meta(pattern=r"^(within_class|between_classes|between_splits)\Z")]
Copies = dict[CopyKind, Annotated[int, Meta(ge=1, le=10**9)]]


class RunError(Struct, frozen=True, forbid_unknown_fields=True):
    """The exception that ended a run: the name of its class, and what it says."""

    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class StageOutcome(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The course of a stage of training; no part of the key.

    Attributes:
        weights_sha256: digest of the file of weights that it ended with.
        training_key: key of these weights, which several runs may share.
        episode, best_episode: the last one, and the one whose weights were kept.
        epoch, best_epoch: likewise, of a stage of classes.
        classes: number of classes of such a stage.
        best_loss: of validation; null in the JSON where there is no validation, and left out where nothing was trained.
        stale: validations since the best one.
        seconds: how long training took.
        curve: losses and validation scores, by name, every so many episodes or epochs.
        name: of a stage before the last one.
    """

    weights_sha256: Short = ""
    training_key: Short = ""
    name: Short = ""
    episode: Count | None = None
    best_episode: Count | None = None
    epoch: Count | None = None
    best_epoch: Count | None = None
    classes: Count | None = None
    best_loss: Number | UnsetType | None = UNSET
    stale: Count | None = None
    seconds: Amount | None = None
    curve: tuple[dict[str, Number], ...] | UnsetType = UNSET


class TrainingOutcome(StageOutcome, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The course of a training, its last stage; no part of the key.

    Attributes:
        weights_sha256: digest of the file of weights that was evaluated.
        checkpoint: name of the file that the weights came from.
        before: the stages before the last one, in order; mostly none.
    """

    checkpoint: str = ""
    before: Annotated[tuple[StageOutcome, ...], Meta(max_length=MAX_STAGES)] = ()


class Cost(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The cost of a run: seconds (all, training, embedding, scoring), episodes scored per second, peak memory in MB.

    `parameters` is the number of weights. None where the record does not say.
    """

    seconds: Amount | None = None
    training_seconds: Amount | None = None
    embedding_seconds: Amount | None = None
    scoring_seconds: Amount | None = None
    episodes_per_second: Amount | None = None
    peak_memory_mb: Amount | None = None
    parameters: Count | None = None


class SuiteMark(Struct, frozen=True, forbid_unknown_fields=True):
    """A suite that the run is part of; `sha256` is of what the suite measures."""

    name: str
    version: int
    sha256: str


class Tried(Struct, frozen=True, forbid_unknown_fields=True):
    """A combination of a sweep: its settings, its validation score (None where it failed) and its runs."""

    settings: dict[str, Value]
    score: Number | None
    keys: tuple[str, ...]


class SweepMark(Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep that chose the settings of the run, on the split `chosen_on`."""

    chosen: dict[str, Value]
    chosen_on: str
    combinations: int
    tried: tuple[Tried, ...]


class Provenance(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The origin of a record: software, hardware, data; no part of the key.

    Attributes:
        git: revision of the source tree, with ``+`` where that was changed; '' for an installed package.
        finished: date and time, ISO 8601.
        local: code and data that others do not have; such a record stays off leaderboards.
        pixels: by dataset, what its pixels are where they are not the official ones.
        copies: number of items that are there more than once, by kind.
        suites, sweeps: what the run is part of.

    None where the record does not say.
    """

    metabench: str | None = None
    python: str | None = None
    torch: str | None = None
    numpy: str | None = None
    platform: str | None = None
    cpu: str | None = None
    threads: int | None = None
    device: str | None = None
    git: str | None = None
    finished: str | None = None
    local: tuple[str, ...] = ()
    pixels: dict[str, str] = {}
    copies: Copies = {}
    suites: tuple[SuiteMark, ...] = ()
    sweeps: tuple[SweepMark, ...] = ()


class PartSummary(Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of a part of a score, and the half-width of its 95 % interval."""

    mean: float
    ci95: float | None


class RecordSummary(Struct, frozen=True, forbid_unknown_fields=True):
    """The summary of a run, to six decimals; see `metabench.statistics.summary.Summary`.

    Attributes:
        mean: in the unit of the metric, whose name it has in the JSON.
        interval: the kind of `ci95`.
        parts: of what the score is made of, by the name of the metric.
    """

    mean: float
    sd: float | None
    ci95: float | None
    interval: str
    open95: float | None
    episodes: int
    note: str
    parts: dict[str, PartSummary] = {}


SummaryValue = Number | str | None | dict[str, dict[str, Number | None]]


class Record(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One run.

    Attributes:
        key: SHA-256 of the canonical JSON of `inputs`.
        scores: None unless all episodes were measured.
        summary_fields: the summary as the JSON has it, the mean under the name of the metric; see `summary`.
        training: None where nothing was trained and no weights came from a file.
        error: None where the run succeeded or was interrupted.
    """

    schema: Literal[1]
    key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    status: Status
    inputs: Inputs
    scores: Scores | None
    summary_fields: dict[str, SummaryValue] | None = msgspec.field(name="summary")
    training: TrainingOutcome | None
    cost: Cost
    provenance: Provenance
    error: RunError | None

    @property
    def short_key(self) -> str:
        """The first 12 digits of the key."""
        return self.key[:12]

    @property
    def copies(self) -> dict[str, int]:
        """The number of copies among the items by kind; empty where none are known."""
        return self.provenance.copies

    @property
    def weights_sha256(self) -> str:
        """The digest of the weights that were evaluated; '' where none were trained or it is not known."""
        return "" if self.training is None else self.training.weights_sha256

    @property
    def measured(self) -> Scores:
        """The scores of a run that has some.

        Raises:
            ValueError: it has none.
        """
        if self.scores is None:
            raise ValueError(f"run {self.short_key} is {self.status} and has no scores")
        return self.scores

    @property
    def metric(self) -> Metric:
        """The metric of its scores; accuracy where it has none."""
        return ACCURACY if self.scores is None else self.scores.metric

    @cached_property
    def summary(self) -> RecordSummary:
        """The summary of a run that has scores.

        Raises:
            ValueError: it has none.
        """
        fields = {**(self.summary_fields or {})}
        fields["mean"] = fields.pop(self.measured.metric.name, None)
        return msgspec.convert(fields, RecordSummary)

    @property
    def score(self) -> float:
        """The mean score of a run that has scores, as its summary gives it."""
        return self.summary.mean

    @cached_property
    def run(self) -> Run:
        """The scores of a run that has some, as comparisons and means read them."""
        return Run(self.measured.per_episode, self.inputs.stream, self.weights_sha256)
