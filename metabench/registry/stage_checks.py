"""Checks of training stages: values that exist, and stages that fit the one before."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from metabench.errors import UsageError
from metabench.registry.stage import CLASSIFIERS, EPISODIC, KEEPS, OBJECTIVES, SELECTS, Chain, Stage

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("step", "cosine", "linear")
TRAIN_ON = ("train", "train+val")
AUGMENTS = ("none", "crop-flip", "crop-flip-jitter")
_ONLY = {"classes": ("epochs", "classifier", "classifier_scale"), "episodes": EPISODIC}
"""Fields that have a meaning in stages of one objective only."""
_CHOICES = {
    "objective": OBJECTIVES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTS,
    "train_on": TRAIN_ON,
    "select": SELECTS,
    "keeps": KEEPS,
    "classifier": CLASSIFIERS,
}


def check_stage(stage: Stage) -> None:
    """Raise UsageError where a stage has a value that does not exist, or two that contradict each other."""
    name = stage.name
    for setting, known in _CHOICES.items():
        if (value := getattr(stage, setting)) not in known:
            raise UsageError(f"{name}.{setting} must be one of {', '.join(known)}, not '{value}'")
    if stage.patience and not stage.is_validated:
        raise UsageError(f"{name}.patience needs a validation split; set it to 0, or {name}.train_on to train")
    if stage.patience and stage.select == "last":
        raise UsageError(f"{name}.patience needs best weights, and {name}.select=last keeps none. Set one of them.")
    if stage.optimizer != "sgd" and (stage.momentum or stage.nesterov):
        raise UsageError(f"{name}.momentum is for optimizer sgd, not {stage.optimizer}. Leave it out.")
    if stage.nesterov and not stage.momentum:
        raise UsageError(f"{name}.nesterov needs {name}.momentum. Set it, as to 0.9, or leave nesterov out.")
    if stage.milestones and (stage.lr_step or stage.schedule != "step"):
        raise UsageError(f"{name}.milestones cannot be beside lr_step or another schedule than step. Use one of them.")
    for share in ("label_smoothing", "teacher_weight"):
        if getattr(stage, share) > 1:
            raise UsageError(f"{name}.{share} is a share of at most 1, not {getattr(stage, share)}")
    if stage.label_smoothing == 1 or stage.teacher_temperature <= 0:
        raise UsageError(f"{name}: label_smoothing must be below 1, and teacher_temperature above 0")
    if stage.length < 1:
        raise UsageError(f"{name}.{stage.unit}s must be at least 1: it is a stage of {stage.objective}")
    _check_meaning(stage)
    milestones(stage)


def _check_meaning(stage: Stage) -> None:
    """Raise UsageError for a field that would be ignored, and yet make weights of a key of their own."""
    other = "classes" if stage.is_episodic else "episodes"
    without = dict.fromkeys(_ONLY[other], f"is for a stage of {other}, and this is one of {stage.objective}")
    if not stage.teacher:
        without |= dict.fromkeys(("teacher_weight", "teacher_temperature"), f"needs {stage.name}.teacher=true")
    if stage.classifier != "cosine":
        without.setdefault("classifier_scale", f"needs {stage.name}.classifier=cosine")
    for field, reason in without.items():
        if getattr(stage, field) != getattr(Stage, field):
            raise UsageError(f"{stage.name}.{field} {reason}. Leave it out.")


def milestones(stage: Stage) -> tuple[int, ...]:
    """Return the milestones of a stage.

    Raises:
        UsageError: they are not whole numbers in ascending order.
    """
    texts = stage.milestones.split()
    if not all(text.isascii() and text.isdecimal() for text in texts):
        raise UsageError(f"{stage.name}.milestones must be whole numbers separated by spaces, not '{stage.milestones}'")
    values = tuple(map(int, texts))
    if sorted(set(values)) != list(values):
        raise UsageError(f"{stage.name}.milestones must be in ascending order, not '{stage.milestones}'")
    return values


def check_chain(chain: Chain) -> None:
    """Raise UsageError where a stage has a bad value, or does not fit the one before."""
    for stage in chain:
        check_stage(stage)
    if repeated := _repeated([name for name, _ in itertools.groupby(stage.name for stage in chain)]):
        raise UsageError(f"two stages of a recipe have the name '{repeated}'. Rename one.")
    for before, stage in zip((None, *chain), chain, strict=False):
        if before is not None and before.objective == stage.objective == "classes":
            _check_classifiers(before, stage)
        if not stage.teacher:
            continue
        if before is None:
            raise UsageError(
                f"stage '{stage.name}' cannot have a teacher: it is the first one, and the stage before teaches. "
                f"Set {stage.name}.teacher=false, or put a stage before it."
            )
        if before.objective != stage.objective:
            raise UsageError(
                f"stage '{stage.name}' of {stage.objective} cannot be taught by stage '{before.name}' of "
                f"{before.objective}. Set {stage.name}.teacher=false."
            )


def _check_classifiers(before: Stage, stage: Stage) -> None:
    """Raise UsageError where the classifier of a stage is not what a stage of classes needs of the one before.

    Its weights go on where a stage keeps all, and a teacher is read as a model of the stage that it teaches.
    """
    fields = {"train_on", "classifier"} if stage.teacher or stage.keeps == "all" else set[str]()
    fields |= {"classifier_scale"} if stage.teacher else set()
    for field in sorted(fields):
        own, theirs = getattr(stage, field), getattr(before, field)
        if own != theirs:
            role = "be taught by" if stage.teacher else "keep all weights of"
            raise UsageError(
                f"stage '{stage.name}' cannot {role} stage '{before.name}': {stage.name}.{field}={own}, and "
                f"{before.name}.{field}={theirs}. Set both to the same."
            )


def _repeated(names: Sequence[str]) -> str:
    return next((name for index, name in enumerate(names) if name in names[:index]), "")
