"""The specs of the gradient-based algorithms: parameters and published recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metabench.api import AlgorithmSpec, Exempt, Param, Recipe, Value

BN = Param(
    "bn",
    "transductive",
    "statistics of batch normalisation: of the pass with its queries, of the support set, of it and a single query, or "
    "averaged in training",
    ("transductive", "support", "single", "running"),
)
INNER = (
    Param("lr", 0.4, "inner learning rate in training"),
    Param("steps", 1, "inner steps in training"),
    Param("test_lr", 0.0, "inner learning rate at evaluation; 0: as in training"),
    Param("test_steps", 0, "inner steps at evaluation; 0: as in training"),
    Param("first_order", False, "leave second derivatives out"),
    BN,
)
OWN_CLASSIFIER = (Exempt("label-permutation", "its classifier starts from other weights for each label"),)
_FINN = "Finn et al. 2017, appendix A.1, and the authors' main.py"
OMNIGLOT_5 = Recipe(
    way=0,
    shot=0,
    query=0,
    episodes=60_000 * 32,
    batch=32,
    lr=1e-3,
    validate_every=1000 * 32,
    validation_episodes=200,
    validation_way=0,
    validation_query=15,
    params={"lr": 0.4, "steps": 1, "test_steps": 3},
    source=f"{_FINN}, 5-way; the best of the weights by validation loss instead of the last",
)
OMNIGLOT_20 = replace(
    OMNIGLOT_5,
    episodes=60_000 * 16,
    batch=16,
    validate_every=1000 * 16,
    validation_episodes=100,
    params={"lr": 0.1, "steps": 5, "test_steps": 5},
    source=f"{_FINN}, 20-way; the best of the weights by validation loss instead of the last",
)
SHORT = Recipe(
    way=0,
    shot=0,
    query=5,
    episodes=2000,
    batch=8,
    lr=3e-3,
    schedule="cosine",
    validate_every=500,
    validation_episodes=40,
    validation_way=0,
    params={"lr": 0.4, "steps": 1, "test_steps": 3},
    source="a short recipe for the built-in data and a first look at others",
)
TEXT = replace(
    SHORT,
    episodes=1600,
    lr=1e-3,
    params={"lr": 5.0, "steps": 5, "bn": "support"},
    source="for a classifier on frozen features of length 1, which text has by default: its gradients are small, and "
    "there is no batch normalisation; of the inner rates 0.4, 2, 5, 10 the last two are best and alike with ANIL "
    "on the validation classes of CLINC150",
)
_NICHOL = "Nichol et al. 2018, the authors' README, Omniglot"
REPTILE = Recipe(
    way=0,
    shot=10,
    query=1,
    episodes=100_000 * 5,
    batch=5,
    optimizer="sgd",
    lr=0.7,
    schedule="linear",
    train_on="train+val",
    validate_every=2000 * 5,
    validation_way=0,
    params={"lr": 1.5e-3, "steps": 5, "inner_batch": 10, "test_steps": 100, "test_batch": 6},
    source=f"{_NICHOL} 5-way 5-shot; always trained on 10 shots",
)
REPTILE_1_SHOT = replace(
    REPTILE,
    shot=15,
    episodes=100_000 * 10,
    batch=10,
    lr=1.0,
    params={"lr": 1e-3, "steps": 3, "inner_batch": 25, "test_steps": 5, "test_batch": 25},
    source=f"{_NICHOL} 5-way 1-shot, transductive; always trained on 15 shots",
)
REPTILE_20 = replace(
    REPTILE,
    shot=12,
    episodes=200_000 * 3,
    batch=3,
    lr=1.0,
    params={"lr": 4.6e-4, "steps": 12, "inner_batch": 20, "test_steps": 97, "test_batch": 10},
    source=f"{_NICHOL} 20-way 5-shot; always trained on 12 shots",
)
REPTILE_20_1_SHOT = replace(
    REPTILE_20,
    shot=9,
    params={**REPTILE_20.params, "inner_batch": 15},
    source=f"{_NICHOL} 20-way 1-shot; always trained on 9 shots",
)
REPTILE_SHORT = replace(
    REPTILE,
    episodes=1000,
    lr=1.0,
    train_on="train",
    validate_every=500,
    validation_episodes=20,
    validation_query=5,
    params={"lr": 1e-3, "steps": 5, "inner_batch": 10, "test_steps": 20, "test_batch": 5},
    source="a short recipe for the built-in data and a first look at others",
)
_ZINTGRAF = "Zintgraf et al. 2019, the authors' classification/arguments.py (mini-ImageNet)"
CAVIA = replace(
    OMNIGLOT_5,
    query=15,
    episodes=60_000 * 16,
    batch=16,
    lr_step=5000 * 16,
    lr_gamma=0.9,
    clip=10.0,
    validate_every=1000 * 16,
    params={},
    source=f"{_ZINTGRAF}, with as many filters as the backbone has; the best of the weights by validation loss",
)
CAVIA_OMNIGLOT = replace(CAVIA, query=0, source=f"{_ZINTGRAF}; the paper has no experiment on Omniglot")
PLUS_PLUS = replace(
    OMNIGLOT_5,
    query=1,
    episodes=100 * 500 * 8,
    batch=8,
    schedule="cosine",
    lr_end=1e-5,
    validate_every=1000 * 8,
    params={"lr": 0.1, "steps": 5, "multi_step_episodes": 10 * 500 * 8},
    source="Antoniou et al. 2019, the authors' configuration omniglot_maml++-omniglot_1_8_0.1_64_5; one model instead "
    "of the ensemble of the five best",
)
PLUS_PLUS_SHORT = replace(
    SHORT,
    episodes=800,
    batch=4,
    validate_every=400,
    lr_end=1e-5,
    params={"lr": 0.1, "steps": 3, "multi_step_episodes": 400},
)


def _with_params(
    recipes: Mapping[str, Recipe], params: Mapping[str, Value], text: Mapping[str, Value] | None = None
) -> dict[str, Recipe]:
    """Return the recipes with these parameters of the inner loop, and beside them `text` where it is text."""
    of_text = {"bn": "support", **(text or {})}
    return {
        name: replace(
            recipe,
            params={**params, **of_text} if name == "*text" else params,
            source=f"the outer loop of MAML's recipe ({recipe.source}); the inner one is this algorithm's",
        )
        for name, recipe in recipes.items()
    }


RECIPES = {"omniglot": OMNIGLOT_5, "omniglot/20-way": OMNIGLOT_20, "*text": TEXT, "*": SHORT}
SINUSOID = Recipe(
    way=0,
    shot=0,
    query=0,
    episodes=15_000 * 25,
    batch=25,
    lr=1e-3,
    validate_every=1000 * 25,
    validation_episodes=500,
    validation_way=0,
    validation_query=15,
    params={"lr": 0.01, "steps": 1, "test_steps": 10, "bn": "running"},
    source=f"{_FINN}, for sinusoids, and 15,000 instead of 70,000 updates; there is no batch normalisation",
)
BOTH = ("labels", "numbers")


def _with_sinusoid(recipes: Mapping[str, Recipe], **params: Value) -> dict[str, Recipe]:
    return {**recipes, "sinusoid": replace(SINUSOID, params={**SINUSOID.params, **params})}


def _spec(name: str, target: str, summary: str, reference: str, **more: object) -> AlgorithmSpec:
    return AlgorithmSpec(
        name=name,
        version=1,
        target=f"metabench_algorithms.gradient.{target}",
        summary=summary,
        reference=reference,
        licence="MIT",
        takes="images",
        trains=True,
        transductive_when={"bn": ("transductive",)},
        **{"exempt": OWN_CLASSIFIER, "params": INNER, "recipes": RECIPES, "backbone": "conv4-strided", **more},  # type: ignore[arg-type]
    )


SPECS = [
    _spec(
        "maml",
        "maml:Maml",
        "weights from which a few gradient steps solve a task",
        "Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
        answers=BOTH,
        recipes=_with_sinusoid(RECIPES),
    ),
    _spec(
        "pretrain",
        "pretrain:Pretrain",
        "one network trained on all functions as if they were one, then adapted by gradient steps",
        "Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, section 5.1",
        answers=("numbers",),
        exempt=(),
        backbone="mlp",
        recipes={
            "*": replace(
                SINUSOID, episodes=20_000 * 25, source=f"{_FINN}, for sinusoids, and 20,000 instead of 70,000 updates"
            )
        },
    ),
    _spec(
        "anil",
        "anil:Anil",
        "MAML whose inner loop moves the classifier alone",
        "Raghu, Raghu, Bengio, Vinyals 2020, Rapid Learning or Feature Reuse?",
        answers=BOTH,
        recipes=_with_sinusoid(RECIPES),
    ),
    _spec(
        "boil",
        "boil:Boil",
        "MAML whose inner loop moves the backbone alone",
        "Oh, Yoo, Kim, Yun 2021, BOIL: Towards Representation Change for Few-shot Learning",
    ),
    _spec(
        "meta-sgd",
        "meta_sgd:MetaSgd",
        "MAML with a learned inner learning rate for every weight",
        "Li, Zhou, Chen, Li 2017, Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
        params=(
            Param("lr", 0.1, "initial inner learning rate of every weight"),
            *(param for param in INNER if param.name in ("steps", "test_steps", "first_order", "bn")),
        ),
        answers=BOTH,
        recipes=_with_sinusoid(
            _with_params(RECIPES, {"lr": 0.1, "steps": 1, "test_steps": 0}, {"lr": 5.0, "steps": 5}), test_steps=1
        ),
    ),
    _spec(
        "reptile",
        "reptile:Reptile",
        "moves the weights towards those that training on a task ends at",
        "Nichol, Achiam, Schulman 2018, On First-Order Meta-Learning Algorithms",
        params=(
            Param("lr", 1e-3, "inner learning rate"),
            Param("steps", 5, "inner steps in training"),
            Param("inner_batch", 10, "images in an inner step in training; 0: the whole support set"),
            Param("test_steps", 50, "inner steps at evaluation"),
            Param("test_batch", 5, "images in an inner step at evaluation; 0: the whole support set"),
            BN,
        ),
        exempt=(
            *OWN_CLASSIFIER,
            Exempt("support-order", "its mini-batches take the support images in turn"),
        ),
        backbone="conv4-strided-flat",
        recipes={
            "omniglot": REPTILE,
            "omniglot/1-shot": REPTILE_1_SHOT,
            "omniglot/20-way": REPTILE_20,
            "omniglot/20-way/1-shot": REPTILE_20_1_SHOT,
            "*": REPTILE_SHORT,
        },
    ),
    _spec(
        "proto-maml",
        "proto_maml:ProtoMaml",
        "MAML whose classifier starts as the nearest class mean",
        "Triantafillou et al. 2020, Meta-Dataset, section 3.2",
        own_weights=False,
        exempt=(),
        recipes=_with_params(RECIPES, {"lr": 0.1, "steps": 1, "test_steps": 0}, {"lr": 5.0, "steps": 5}),
    ),
    _spec(
        "maml-plus-plus",
        "maml_plus_plus:MamlPlusPlus",
        "MAML with multi-step loss, learned rates and batch norm for each layer and step",
        "Antoniou, Edwards, Storkey 2019, How to train your MAML",
        params=(
            Param("lr", 0.1, "initial inner learning rate of every layer and step"),
            Param("steps", 5, "inner steps in training and at evaluation"),
            Param("multi_step_episodes", 40_000, "training episodes after which only the last step counts"),
            Param("first_order", False, "leave second derivatives out"),
            Param("bn", "per-step", BN.doc + "; of each step", (*BN.choices, "per-step")),
        ),
        backbone="conv4",
        recipes={"omniglot": PLUS_PLUS, "*": PLUS_PLUS_SHORT},
    ),
    _spec(
        "cavia",
        "cavia:Cavia",
        "adapts only a few context parameters that modulate a network shared by all tasks",
        "Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019, Fast Context Adaptation via Meta-Learning",
        params=(
            Param("context", 100, "context parameters"),
            Param("layer", 3, "batch norm layer that they modulate, from 1; the last where there are fewer"),
            replace(INNER[0], default=1.0),
            replace(INNER[1], default=2),
            *INNER[2:],
        ),
        answers=BOTH,
        backbone="conv4",
        recipes={
            "mini-imagenet": CAVIA,
            "omniglot": CAVIA_OMNIGLOT,
            "sinusoid": replace(
                SINUSOID,
                clip=10.0,
                params={"context": 5, "lr": 1.0, "steps": 1, "bn": "running"},
                source="Zintgraf et al. 2019, the authors' regression/arguments.py, and 15,000 instead of 50,000 "
                "updates; there is no batch normalisation",
            ),
            "*": replace(
                SHORT,
                params={"lr": 10.0, "steps": 2},
                source=f"{SHORT.source}; with the paper's inner rate of 1 so short a training learns next to nothing",
            ),
        },
    ),
    _spec(
        "imaml",
        "imaml:Imaml",
        "MAML with a proximal inner problem and the exact gradient of its solution",
        "Rajeswaran, Finn, Kakade, Levine 2019, Meta-Learning with Implicit Gradients",
        params=(
            Param("lr", 0.1, "learning rate of the inner gradient descent"),
            Param("steps", 16, "inner steps"),
            Param("regularisation", 2.0, "pull towards the start (lambda)"),
            Param("cg_steps", 5, "steps of conjugate gradients"),
            BN,
        ),
        recipes=_with_params(RECIPES, {}),
    ),
]
