"""The pre-training that the transfer methods share: classification of the training classes."""

from __future__ import annotations

import dataclasses

from metabench.api import Stage

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
