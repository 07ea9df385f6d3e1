"""Training recipes of the metric-based algorithms: one for each dataset, the same for all of them."""

from __future__ import annotations

import dataclasses

from metabench.api import Stage

_SNELL = "Snell et al. 2017, sections 3.1-3.2 and the authors' run_train.py and run_trainval.py"
_OMNIGLOT = Stage(
    way=60,
    shot=0,
    query=5,
    episodes=10_000,
    lr_step=2000,
    validate_every=500,
    train_on="train+val",
    source=f"{_SNELL}; a fixed number of episodes instead of the best by validation, which they wait 20,000 more for",
)
_MINI_5_SHOT = Stage(
    way=20,
    shot=0,
    query=15,
    episodes=30_000,
    lr_step=2000,
    validate_every=1000,
    patience=10,
    source=f"{_SNELL}; until the validation loss has not fallen for 10,000 episodes, at most 30,000",
)
_MINI = dataclasses.replace(_MINI_5_SHOT, way=30)
_CIFAR = dataclasses.replace(
    _MINI_5_SHOT,
    episodes=20_000,
    validate_every=500,
    source=f"{_SNELL}, their recipe for mini-ImageNet, 20-way as Bertinetto et al. 2019 train here (fewshots.yaml); "
    "until the validation loss has not fallen for 5,000 episodes, at most 20,000",
)
_SHORT = Stage(
    way=20,
    shot=0,
    query=3,
    episodes=300,
    lr=2e-3,
    lr_step=100,
    validate_every=100,
    validation_episodes=100,
    source="a short recipe for the built-in data and a first look at others",
)
RECIPES = {
    "omniglot": _OMNIGLOT,
    "mini-imagenet": _MINI,
    "mini-imagenet/5-shot": _MINI_5_SHOT,
    "cifar-fs": _CIFAR,
    "fc100": _CIFAR,
    "*": _SHORT,
}
