"""Training recipes of the closed-form algorithms."""

from __future__ import annotations

import dataclasses

from metabench.api import Stage

_BERTINETTO = (
    "Bertinetto et al. 2019, section 4 and the authors' fewshots.yaml and experiments.sh; 5 shots in every episode "
    "instead of 1 to 9 at random, the best weights by 5-shot validation for any shot, no dropout, the last features of "
    "Conv-4 instead of those of two blocks, and 8,000 episodes whose learning rate is halved every 1,000 instead of "
    "2,000 until patience ends"
)
_R2D2_MINI = Stage(
    way=16,
    shot=5,
    query=10,
    episodes=8000,
    lr=5e-3,
    lr_step=1000,
    validate_every=500,
    validation_episodes=400,
    validation_query=15,
    select="score",
    params={"scale": 1e-4},
    source=_BERTINETTO,
)
_R2D2_CIFAR = dataclasses.replace(_R2D2_MINI, way=20, query=7, params={})
_LEE = (
    "Lee et al. 2019, section 4.1 and the authors' train.py, with 5 shots as for Conv-4 (15 for their ResNet-12); "
    "6,000 instead of 60,000 updates, and 0.2 as every factor of the learning rate instead of 0.06, 0.2, 0.2"
)
_METAOPTNET = Stage(
    way=5,
    shot=5,
    query=6,
    episodes=48_000,
    batch=8,
    optimizer="sgd",
    lr=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    milestones="16000 32000 40000",
    lr_gamma=0.2,
    augment="crop-flip-jitter",
    validate_every=2000,
    validation_episodes=400,
    validation_query=15,
    select="score",
    source=_LEE,
)
_SHORT = Stage(
    way=20,
    query=3,
    episodes=300,
    lr=2e-3,
    lr_step=100,
    validate_every=100,
    validation_episodes=100,
    source="a short recipe for the built-in data and a first look at others",
)
R2D2 = {
    "omniglot": dataclasses.replace(_R2D2_CIFAR, way=60, query=5),
    "mini-imagenet": _R2D2_MINI,
    "cifar-fs": _R2D2_CIFAR,
    "fc100": _R2D2_CIFAR,
    "*": _SHORT,
}
METAOPTNET = {
    "mini-imagenet": _METAOPTNET,
    "tiered-imagenet": dataclasses.replace(
        _METAOPTNET, shot=10, source=_LEE.replace("5 shots as for Conv-4", "10 shots")
    ),
    "cifar-fs": _METAOPTNET,
    "fc100": _METAOPTNET,
    "*": _SHORT,
}
