"""What a run was trained by, in words."""

from __future__ import annotations

import pytest

from metabench.records.inputs import PluginInputs, StageInputs, TrainingInputs
from metabench.records.schema import StageOutcome, TrainingOutcome
from metabench.records.training_text import trained_by

CLASSES = StageInputs(name="pretrain", objective="classes", epochs=3)
TAUGHT = StageInputs(name="distill", objective="classes", teacher=True)
OF_64 = StageOutcome(classes=64)


@pytest.mark.parametrize(
    ("training", "outcome", "text"),
    [
        (None, None, ""),
        (TrainingInputs(checkpoint="ab"), TrainingOutcome(), ""),
        (TrainingInputs(episodes=5), TrainingOutcome(), "episodes"),
        (TrainingInputs(episodes=5, before=(CLASSES,)), TrainingOutcome(before=(OF_64,)), "64 classes, then episodes"),
        (TrainingInputs(episodes=5, before=(CLASSES,)), None, "classes, then episodes"),
        (TrainingInputs(objective="classes"), TrainingOutcome(classes=64), "64 classes"),
        (
            TrainingInputs(objective="classes", teacher=True, before=(CLASSES, TAUGHT)),
            TrainingOutcome(before=(OF_64, OF_64)),
            "64 classes, then distillation 2 times",
        ),
        (TrainingInputs(algorithm=PluginInputs("protonet", 1, {})), None, "episodes as protonet"),
    ],
)
def test_a_training_in_words(training: TrainingInputs | None, outcome: TrainingOutcome | None, text: str) -> None:
    assert trained_by(training, outcome) == text
