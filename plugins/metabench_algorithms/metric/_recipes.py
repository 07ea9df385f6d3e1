"""Training recipes of the metric-based algorithms, by dataset."""

from __future__ import annotations

import dataclasses

from metabench.api import Stage
from metabench_algorithms.transfer._recipes import PRETRAIN

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
"""Prototypical and Matching Networks."""

_SUNG = "Sung et al. 2018, section 4 and the authors' code, train_one_shot.py and train_few_shot.py"
_SUNG_DIFFERS = (
    "they clip the gradients of encoder and relation module apart, leave out padding in the first two convolutions "
    "and choose the weights on test classes"
)
_RELATION = Stage(
    query=15,
    episodes=50_000,
    lr_step=10_000,
    clip_norm=0.5,
    validate_every=1000,
    validation_way=0,
    select="score",
    patience=15,
    source=f"{_SUNG}; a tenth of their 500,000 episodes and of the 100,000 that halve the rate, and until the "
    f"validation score has not risen for 15,000; {_SUNG_DIFFERS}",
)
_RELATION_CHARACTERS = dataclasses.replace(
    _RELATION,
    query=19,
    episodes=20_000,
    lr_step=2000,
    validate_every=500,
    patience=0,
    source=f"{_SUNG}; a fiftieth of their 1,000,000 episodes and of the 100,000 that halve the rate; {_SUNG_DIFFERS}",
)
_RELATION_CIFAR = dataclasses.replace(
    _RELATION,
    episodes=30_000,
    source=f"{_SUNG}, their recipe for mini-ImageNet; 30,000 episodes; {_SUNG_DIFFERS}",
)
RELATION = {
    "omniglot": _RELATION_CHARACTERS,
    "omniglot/5-shot": dataclasses.replace(_RELATION_CHARACTERS, query=15),
    "omniglot/20-way": dataclasses.replace(_RELATION_CHARACTERS, query=10),
    "omniglot/20-way/5-shot": dataclasses.replace(_RELATION_CHARACTERS, query=5),
    "mini-imagenet": _RELATION,
    "mini-imagenet/5-shot": dataclasses.replace(_RELATION, query=10),
    "tiered-imagenet": _RELATION,
    "cifar-fs": _RELATION_CIFAR,
    "cifar-fs/5-shot": dataclasses.replace(_RELATION_CIFAR, query=10),
    "fc100": _RELATION_CIFAR,
    "fc100/5-shot": dataclasses.replace(_RELATION_CIFAR, query=10),
    "*": dataclasses.replace(_SHORT, clip_norm=0.5),
}

_LI = "Li et al. 2019, section 4.2 and the authors' DN4_Train_5way1shot.py and DN4_Train_5way5shot.py of 2019"
_LI_DIFFERS = (
    "their Adam has betas 0.5 and 0.9, their batch norms keep still after 10,000 episodes, and their encoder has leaky "
    "ReLU of slope 0.2"
)
_DN4 = Stage(
    query=15,
    episodes=60_000,
    lr=5e-3,
    lr_step=20_000,
    validate_every=2000,
    validation_way=0,
    select="score",
    patience=10,
    source=f"{_LI}; a fifth of their 300,000 episodes and of the 100,000 that halve the rate (in the code, multiply it "
    f"by 0.05); {_LI_DIFFERS}",
)
_DN4_CIFAR = dataclasses.replace(
    _DN4,
    episodes=30_000,
    lr_step=10_000,
    validate_every=1000,
    source=f"{_LI}, their recipe for mini-ImageNet; a tenth of their episodes; {_LI_DIFFERS}",
)
DN4 = {
    "omniglot": dataclasses.replace(_DN4_CIFAR, query=5),
    "mini-imagenet": _DN4,
    "mini-imagenet/5-shot": dataclasses.replace(_DN4, query=10),
    "tiered-imagenet": _DN4,
    "cifar-fs": _DN4_CIFAR,
    "cifar-fs/5-shot": dataclasses.replace(_DN4_CIFAR, query=10),
    "fc100": _DN4_CIFAR,
    "fc100/5-shot": dataclasses.replace(_DN4_CIFAR, query=10),
    "*": dataclasses.replace(_SHORT, lr=5e-3),
}

_YE = "Ye et al. 2020, section 4 and the commands for ConvNet in the README of the authors' code (train_fsl.py)"
_FEAT = Stage(
    query=15,
    episodes=20_000,
    lr=1e-3,
    backbone_lr=0.1,
    lr_step=2000,
    validate_every=500,
    validation_way=0,
    validation_episodes=600,
    select="score",
    source=f"{_YE}; validated every 500 episodes instead of every 100; their ConvNet ends in a maximum over positions, "
    "which leaves 64 features, and is pre-trained in another way",
)
_FEAT_5_SHOT = dataclasses.replace(_FEAT, params={"temperature": 32.0, "balance": 0.1, "balance_temperature": 64.0})
_FEAT_SHORT = dataclasses.replace(_SHORT, episodes=200, lr=1e-3, backbone_lr=0.1)
_PHOTOGRAPHS = ("mini-imagenet", "tiered-imagenet", "cifar-fs", "fc100")
FEAT = {
    **{name: (PRETRAIN[name], _FEAT) for name in _PHOTOGRAPHS},
    **{f"{name}/5-shot": (PRETRAIN[name], _FEAT_5_SHOT) for name in _PHOTOGRAPHS},
    "*": (PRETRAIN["*"], _FEAT_SHORT),
}

_KOCH = "Koch et al. 2015, sections 3.2 and 3.3"
_KOCH_DIFFERS = (
    "their 150,000 pairs are drawn alphabet by alphabet, half of them of one class, with eight distorted copies each; "
    "here an episode's pairs of query and support are, weighted to the same halves, undistorted. Adam instead of SGD "
    "with a rate, a momentum and an L2 penalty of each layer, which they searched for and do not give"
)
_SIAMESE = Stage(
    way=20,
    shot=1,
    query=2,
    episodes=20_000,
    lr=3e-4,
    lr_step=200,
    lr_gamma=0.99,
    validate_every=500,
    validation_way=20,
    validation_episodes=200,
    select="score",
    patience=20,
    source=f"{_KOCH}: the rate falls by 1 % an epoch, here 200 episodes, and training stops when one-shot validation "
    f"has not improved 20 times; {_KOCH_DIFFERS}. For Lake's task train with backbone siamese-conv and "
    "data.split=background, data.size=105, data.rotations=false",
)
_SIAMESE_PHOTOGRAPHS = dataclasses.replace(
    _SIAMESE,
    shot=0,
    query=5,
    validation_way=5,
    source=f"{_KOCH}, made for Omniglot; the authors measure no photographs; {_KOCH_DIFFERS}",
)
SIAMESE = {
    "omniglot": _SIAMESE,
    **dict.fromkeys(_PHOTOGRAPHS, _SIAMESE_PHOTOGRAPHS),
    "*": _SHORT,
}
