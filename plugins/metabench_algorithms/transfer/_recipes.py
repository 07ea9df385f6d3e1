"""The pre-training that the transfer methods share: classification of the training classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from metabench.api import Chain, Stage

_SCALE = 10.0
"""Of 64 and more classes; the 2 of Chen et al. cannot tell so many apart with certainty."""
TIAN = "Tian et al. 2020, section 4.1 and the authors' train_supervised.py"
_TIAN_84 = Stage(
    name="pretrain",
    objective="classes",
    epochs=100,
    batch=64,
    optimizer="sgd",
    lr=0.05,
    momentum=0.9,
    weight_decay=5e-4,
    milestones="60 80",
    lr_gamma=0.1,
    augment="crop-flip-jitter",
    validate_every=5,
    validation_episodes=600,
    select="last",
    source=TIAN,
)
_TIAN_32 = dataclasses.replace(_TIAN_84, epochs=90, milestones="45 60 75", source=f"{TIAN}, CIFAR-FS and FC100")
_SHORT = Stage(
    name="pretrain",
    objective="classes",
    epochs=4,
    batch=64,
    lr=2e-3,
    schedule="cosine",
    validate_every=2,
    validation_episodes=100,
    source="a short recipe for the built-in data and a first look at others",
)
PRETRAIN = {
    "mini-imagenet": _TIAN_84,
    "tiered-imagenet": _TIAN_84,
    "cifar-fs": _TIAN_32,
    "fc100": _TIAN_32,
    "*": _SHORT,
}


def _by_dataset(change: Callable[[Stage], Stage | Chain]) -> dict[str, Stage | Chain]:
    return {name: change(stage) for name, stage in PRETRAIN.items()}


DISTILLED = _by_dataset(
    lambda stage: (
        stage,
        dataclasses.replace(
            stage,
            name="distill",
            teacher=True,
            keeps="nothing",
            repeat=0,
            source=f"{stage.source}; train_distillation.py",
        ),
    )
)
_CHEN_2019 = "the cosine classifier of Chen et al. 2019, trained as for the other methods here"
COSINE = _by_dataset(
    lambda stage: dataclasses.replace(
        stage, classifier="cosine", classifier_scale=_SCALE, source=f"{stage.source}; {_CHEN_2019}"
    )
)
_EPISODES = Stage(
    way=5,
    shot=0,
    query=15,
    episodes=20 * 200 * 4,
    batch=4,
    optimizer="sgd",
    lr=1e-3,
    momentum=0.9,
    weight_decay=5e-4,
    validate_every=200 * 4,
    validation_episodes=400,
    select="score",
    source="Chen et al. 2021, section 4.2 and the authors' configuration train_meta_mini.yaml; the best of 20 epochs",
)
_EPISODES_SHORT = dataclasses.replace(
    _EPISODES,
    episodes=200,
    validate_every=100,
    validation_episodes=100,
    source="a short recipe for the built-in data and a first look at others",
)
META_BASELINE = {name: (stage, _EPISODES_SHORT if name == "*" else _EPISODES) for name, stage in PRETRAIN.items()}
