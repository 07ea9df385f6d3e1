"""Training of a run in words."""

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
    stages: list[StageInputs] = [*training.before, training]
    courses: list[StageOutcome] = [] if outcome is None else [*outcome.before, outcome]
    for index, stage in enumerate(stages):
        if stage.teacher:
            yield "distillation"
        elif stage.objective == EPISODES:
            yield EPISODES
        else:
            classes = courses[index].classes if len(courses) == len(stages) else None
            yield f"{classes} classes" if classes else "classes"
