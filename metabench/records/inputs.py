"""The inputs of a record: what determines a run, and so its key.

A field that is at its default is left out of the JSON, because that is what keys are made of: a field that is new here
leaves the keys of older records as they are.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from metabench.registry.params import Value
from metabench.registry.specs import TEST, Kind
from metabench.registry.stage import chain_settings
from metabench.statistics.stopping import StopRule
from metabench.utils.hashing import canonical_json, content_key

MAX_EPISODES = 1_000_000
MAX_STAGES = 100

Number = int | float
"""Of JSON: 1 and 1.0 are different bytes, so neither becomes the other."""
Amount = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]
"""Number that is not negative: of seconds, megabytes or weights."""
Count = Annotated[int, Meta(ge=0)]
Short = Annotated[str, Meta(max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Digests = Annotated[dict[str, Short], Meta(min_length=1)]


class PluginInputs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A plugin with its parameters.

    Attributes:
        params: every parameter by name.
        file_sha256: digest of a loose plugin file; '' for an installed plugin.
    """

    name: Name
    version: int
    params: dict[str, Value]
    file_sha256: Short = ""


class AlgorithmInputs(PluginInputs, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The algorithm; `setting` is ``inductive`` or ``transductive``."""

    setting: Short


class BackboneInputs(PluginInputs, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The backbone.

    Attributes:
        trained_on: its pre-training data; '' for a random start.
        weights_sha256: digest of the file of weights that it starts from; '' where it has its own.
    """

    trained_on: Short
    weights_sha256: Short = ""


class DatasetInputs(PluginInputs, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The dataset and the split that is measured.

    Attributes:
        digest: of the measured split.
        beside: digest of the split whose classes are in every episode too, by its name; mostly empty.
        support: digest of the split of the same classes that support is drawn from, by its name; mostly empty.
    """

    split: Short
    digest: Short
    beside: Digests = {}
    support: Digests = {}

    @property
    def label(self) -> str:
        """The name, with the split that is measured where that is not the test split."""
        return self.name if self.split == TEST else f"{self.name} ({self.split})"


class StopInputs(Struct, frozen=True, forbid_unknown_fields=True):
    """The rule by which a run ends; see `metabench.statistics.stopping.StopRule`."""

    half_width: Annotated[int, Meta(gt=0, le=100)] | Annotated[float, Meta(gt=0, le=100)]
    bound: Literal["asymptotic", "bernstein"]
    tightest: Annotated[int, Meta(ge=1, le=10**9)]

    @property
    def rule(self) -> StopRule:
        """The rule itself."""
        return StopRule(self.half_width, self.bound, self.tightest)


class EvaluationInputs(Struct, frozen=True, forbid_unknown_fields=True):
    """The episodes that are measured: how many at most, of which seed, drawn how, and when to stop."""

    episodes: Annotated[int, Meta(ge=1, le=MAX_EPISODES)]
    seed: int
    sampling: Literal["closed", "open"]
    stop: StopInputs | None


class StageInputs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stage of training, see `metabench.registry.stage.Stage`; None where the record does not say."""

    way: int | None = None
    shot: int | None = None
    query: int | None = None
    episodes: int | None = None
    optimizer: Short = ""
    lr: Number | None = None
    weight_decay: Number | None = None
    lr_step: int | None = None
    lr_gamma: Number | None = None
    validate_every: int | None = None
    validation_episodes: int | None = None
    validation_way: int | None = None
    patience: int | None = None
    train_on: Short = ""
    batch: int | None = None
    schedule: Short = ""
    lr_end: Number | None = None
    clip: Number | None = None
    clip_norm: Number | None = None
    first_order_episodes: int | None = None
    validation_query: int | None = None
    augment: Short = ""
    name: Short = "train"
    objective: Short = "episodes"
    epochs: int | None = None
    momentum: Number | None = None
    nesterov: bool | None = None
    milestones: Short = ""
    backbone_lr: Number | None = None
    validation_shot: int | None = None
    select: Short = ""
    label_smoothing: Number | None = None
    keeps: Short = ""
    classifier: Short = ""
    classifier_scale: Number | None = None
    teacher: bool | None = None
    teacher_weight: Number | None = None
    teacher_temperature: Number | None = None


class TrainingInputs(StageInputs, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Inputs that determine trained weights: the last stage of training with seed and data, or a file.

    Attributes:
        checkpoint: SHA-256 of a file of weights; then nothing else is known here.
        seed: None for weights from a file.
        digests: of the training and validation splits, by name.
        before: stages before the last one, in order; mostly none.
        reserve: share of the images of a split that training never sees, by the split's name.
        dataset, protocol: of the training, where they are not those of the evaluation.
        algorithm: that the backbone was trained as, where it is not the one that is measured.

    The other attributes are those of the stage.
    """

    checkpoint: Short = ""
    seed: int | None = None
    digests: Digests = {}
    before: Annotated[tuple[StageInputs, ...], Meta(min_length=1, max_length=MAX_STAGES)] = ()
    reserve: Annotated[dict[str, Number], Meta(min_length=1)] = {}
    dataset: PluginInputs | None = None
    protocol: PluginInputs | None = None
    algorithm: PluginInputs | None = None

    @property
    def settings(self) -> dict[str, Value]:
        """The single values, by name in alphabetical order: seed and stages, or the checkpoint."""
        values = chain_settings([*as_plain(self.before), as_plain(self)])
        return {name: value for name, value in sorted(values.items()) if isinstance(value, (int, float, str))}


class BaseInputs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The classes that the algorithm studied after training: the digest of their split.

    Attributes:
        dataset: that they are of, where it is not the measured one.
    """

    digest: Short
    dataset: PluginInputs | None = None


class Inputs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """Everything that determines a run; its content key is the record's key.

    Attributes:
        training: None where nothing is trained and no weights come from a file.
        precision: of the arithmetic, as ``float32``.
        base: classes that the algorithm studied; None where it needs none, or a checkpoint holds what it learned.
    """

    algorithm: AlgorithmInputs
    backbone: BackboneInputs
    dataset: DatasetInputs
    protocol: PluginInputs
    evaluation: EvaluationInputs
    training: TrainingInputs | None
    precision: Name
    base: BaseInputs | None = None

    @cached_property
    def key(self) -> str:
        """The key of the run."""
        return content_key(as_plain(self))

    @property
    def plugins(self) -> dict[Kind, PluginInputs]:
        """The plugins by kind."""
        return {
            "algorithm": self.algorithm,
            "backbone": self.backbone,
            "dataset": self.dataset,
            "protocol": self.protocol,
        }

    @property
    def seed(self) -> int | None:
        """The seed of the training; None where nothing was trained, or it is not known."""
        return None if self.training is None else self.training.seed

    @property
    def training_dataset(self) -> str:
        """The name of the dataset that was trained on where it is not the measured one; else ''."""
        other = None if self.training is None else self.training.dataset
        return "" if other is None else other.name

    @property
    def domain(self) -> str:
        """The measured dataset, after ``A -> `` where the run was trained on another dataset A."""
        return f"{self.training_dataset} -> {self.dataset.label}" if self.training_dataset else self.dataset.label

    @property
    def stream(self) -> str:
        """The name of the episodes: two runs with the same name agree in every episode i.

        The number of episodes is no part of it, save under open sampling, where it shapes the whole sequence.
        """
        drawn: dict[str, Value] = {"seed": self.evaluation.seed, "sampling": self.evaluation.sampling}
        if self.evaluation.sampling != "closed":
            drawn["episodes"] = self.evaluation.episodes
        return canonical_json([as_plain(self.dataset), as_plain(self.protocol), drawn])


def as_plain(value: Any) -> Any:
    """Return a struct as dictionaries, tuples and plain values: what its JSON holds, in the same order."""
    return msgspec.to_builtins(value, order="sorted")


def inputs_of(plain: Any) -> Inputs:
    """Return the inputs of a run that is planned, from its plain values.

    Raises:
        msgspec.ValidationError: they are no inputs.
    """
    return msgspec.convert(plain, Inputs)
