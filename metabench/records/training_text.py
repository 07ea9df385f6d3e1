"""What a run was trained by, in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from metabench.records.inputs import StageInputs, TrainingInputs
from metabench.records.schema import StageOutcome, TrainingOutcome

EPISODES = "episodes"


def trained_by(training: TrainingInputs | None, outcome: TrainingOutcome | None) -> str:
    """Return the stages of a training in words, as ``64 classes, then episodes``.

    Returns:
        ``episodes`` for a training by episodes alone; '' where nothing was trained, or nothing is known of it.
    """
    if training is None or training.checkpoint:
        return ""
    words = [
        f"{word} {number} times" if (number := len(list(same))) > 1 else word
        for word, same in itertools.groupby(_stages(training, outcome))
    ]
    text = ", then ".join(words)
    return f"{text} as {training.algorithm.name}" if training.algorithm is not None else text


def _stages(training: TrainingInputs, outcome: TrainingOutcome | None) -> Iterator[str]:
    stages: tuple[StageInputs, ...] = (*training.before, training)
    known: list[StageOutcome | None] = [*(outcome.before if outcome is not None else ()), outcome]
    known = [None] * (len(stages) - len(known)) + known[-len(stages) :]
    for stage, course in zip(stages, known, strict=True):
        if stage.teacher:
            yield "distillation"
        elif stage.objective == EPISODES:
            yield EPISODES
        else:
            yield f"{course.classes} classes" if course is not None and course.classes else "classes"
