"""Stage of training: objective, optimiser, schedule, validation. A recipe is one stage, or a chain of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metabench.registry.params import Value

OBJECTIVES = ("episodes", "classes")
KEEPS = ("all", "backbone", "nothing")
SELECTS = ("loss", "score", "last")
CLASSIFIERS = ("linear", "cosine")
_NOT_IN_KEYS = ("params", "source", "repeat")
EPISODIC = ("way", "shot", "query", "episodes", "first_order_episodes")
"""Fields without a meaning in a stage of classes."""
_ADDED = (
    *("name", "objective", "augment", "momentum", "nesterov", "milestones", "label_smoothing", "backbone_lr"),
    *("keeps", "select", "validation_shot"),
    *("epochs", "classifier", "classifier_scale", "teacher", "teacher_weight", "teacher_temperature"),
)
"""Fields that the keys of episodes leave out at their default: records made before they were there stay valid.

The keys of a stage of classes leave out every field at its default."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the training of an algorithm on a dataset.

    With objective ``episodes`` it is counted in episodes. With ``classes``, batches labelled by the class of the
    training split, it is counted in epochs, and a classifier that the harness owns is learned beside the backbone; it
    never enters the weights that are evaluated, and the algorithm has no part in the stage.

    ``way = 0`` and ``shot = 0`` mean those of the evaluation, ``query = 0`` means as many as `shot`.
    """

    name: str = "train"
    """``--set NAME.lr=0.05`` addresses the stage of this name."""
    objective: str = "episodes"
    """``episodes`` or ``classes``."""
    way: int = 0
    shot: int = 0
    query: int = 0
    episodes: int = 0
    epochs: int = 0
    """Passes over the training images, of a stage of ``classes``."""
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    backbone_lr: float = 1.0
    """Factor of the learning rate of the backbone; 0 freezes it, its batch norm statistics too."""
    lr_step: int = 0
    """Multiply the learning rate by `lr_gamma` every `lr_step` episodes (epochs); 0 keeps it constant."""
    lr_gamma: float = 0.5
    milestones: str = ""
    """Episodes (epochs), separated by spaces, after each of which the learning rate is multiplied by `lr_gamma`."""
    validate_every: int = 500
    """Validate after every so many episodes (epochs); see `select`."""
    validation_episodes: int = 400
    validation_way: int = 5
    """0: the way of the evaluation."""
    validation_shot: int = 0
    """0: as in training; 1 in a stage of classes."""
    validation_query: int = 0
    """Queries of each class in validation; 0: as in training; 15 in a stage of classes."""
    select: str = "loss"
    """The weights that are kept: the best by validation ``loss`` or by validation ``score``, or the ``last``. A stage
    of classes is validated by the nearest class mean of features of length 1."""
    patience: int = 0
    """Stop after so many validations without better weights; 0 never stops early."""
    train_on: str = "train"
    """Splits whose classes are trained on: ``train``, or ``train+val``, which leaves nothing to validate on: the last
    weights are kept."""
    batch: int = 1
    """Episodes (tasks) whose mean gradient makes one update, the meta-batch; images, in a stage of classes."""
    schedule: str = "step"
    """``step`` (`lr_step` or `milestones`, `lr_gamma`), or from `lr` to `lr_end` over the stage: ``cosine`` or
    ``linear``."""
    lr_end: float = 0.0
    clip: float = 0.0
    """Clip every entry of the gradient to this absolute value; 0 does not."""
    clip_norm: float = 0.0
    """Clip the norm of the whole gradient to this; 0 does not."""
    first_order_episodes: int = 0
    """Leave second derivatives out in the first so many episodes."""
    augment: str = "none"
    """Augmentation of training images, one of `metabench.registry.stage_checks.AUGMENTS`: ``none``, ``crop-flip`` or
    ``crop-flip-jitter``."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes, in cross-entropy."""
    keeps: str = "all"
    """Weights of the stage before that it starts from: ``all`` that both have, those of the ``backbone``, or
    ``nothing``."""
    classifier: str = "linear"
    """Classifier of a stage of classes: ``linear``, or ``cosine`` between feature and class weights."""
    classifier_scale: float = 10.0
    """Factor of the cosines."""
    teacher: bool = False
    """The frozen model of the stage before teaches (distillation): the loss is (1 - w) times that of the labels plus
    w T^2 times the Kullback-Leibler divergence from its softened answers (Hinton et al. 2015)."""
    teacher_weight: float = 0.5
    """w."""
    teacher_temperature: float = 4.0
    """T."""
    repeat: int = 1
    """Times that the stage is done in a row, each from the one before; 0 leaves it out."""
    params: Mapping[str, Value] = field(default_factory=dict)
    """Defaults of the algorithm's parameters for this dataset, where they differ from those of the spec."""
    source: str = ""
    """Source of the stage, and its differences from it; not part of the run key."""

    @property
    def is_episodic(self) -> bool:
        """Its objective is episodes, not classes."""
        return self.objective == "episodes"

    @property
    def unit(self) -> str:
        """Unit of its length: episode or epoch."""
        return "episode" if self.is_episodic else "epoch"

    @property
    def length(self) -> int:
        """Its episodes or epochs."""
        return self.episodes if self.is_episodic else self.epochs

    @property
    def is_validated(self) -> bool:
        """There are classes left to validate on."""
        return self.train_on == "train"

    def inputs(self) -> dict[str, Any]:
        """Return the fields that are part of keys."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        usual = {item.name for item in dataclasses.fields(self) if values[item.name] == item.default}
        left_out = {*_NOT_IN_KEYS, *(usual & set(_ADDED) if self.is_episodic else usual.union(EPISODIC))}
        return {name: value for name, value in values.items() if name not in left_out}


Chain = tuple[Stage, ...]
"""Stages that are done in order; empty where nothing is trained."""


def as_chain(recipe: Stage | Chain) -> Chain:
    """Return a recipe as the chain of its stages."""
    return (recipe,) if isinstance(recipe, Stage) else tuple(recipe)


def chain_settings(stages: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Return the settings of the stages of a chain by name; those before the last one as ``STAGE.NAME``."""
    *before, last = [{"name": "train", **stage} for stage in stages]
    earlier = {f"{stage['name']}.{name}": value for stage in before for name, value in stage.items() if name != "name"}
    return {**earlier, **{name: value for name, value in last.items() if name != "name"}}


def chain_params(chain: Chain) -> dict[str, Value]:
    """Return the defaults of the algorithm's parameters that the stages of a chain set."""
    return {name: value for stage in chain for name, value in stage.params.items()}
