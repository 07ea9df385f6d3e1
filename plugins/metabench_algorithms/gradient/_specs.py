"""The specs of the gradient-based algorithms: their parameters, exemptions and recipes."""

from __future__ import annotations

from dataclasses import replace

from metabench.api import AlgorithmSpec, Exempt, Param
from metabench_algorithms.gradient._recipes import (
    CAVIA,
    CAVIA_OMNIGLOT,
    FINN,
    PLUS_PLUS,
    PLUS_PLUS_SHORT,
    RECIPES,
    REPTILE,
    REPTILE_1_SHOT,
    REPTILE_20,
    REPTILE_20_1_SHOT,
    REPTILE_SHORT,
    SHORT,
    SINUSOID,
    with_params,
    with_sinusoid,
)

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
BOTH = ("labels", "numbers")


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
        recipes=with_sinusoid(RECIPES),
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
                SINUSOID, episodes=20_000 * 25, source=f"{FINN}, for sinusoids, and 20,000 instead of 70,000 updates"
            )
        },
    ),
    _spec(
        "anil",
        "anil:Anil",
        "MAML whose inner loop moves the classifier alone",
        "Raghu, Raghu, Bengio, Vinyals 2020, Rapid Learning or Feature Reuse?",
        answers=BOTH,
        recipes=with_sinusoid(RECIPES),
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
        recipes=with_sinusoid(
            with_params(RECIPES, {"lr": 0.1, "steps": 1, "test_steps": 0}, {"lr": 5.0, "steps": 5}), test_steps=1
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
        recipes=with_params(RECIPES, {"lr": 0.1, "steps": 1, "test_steps": 0}, {"lr": 5.0, "steps": 5}),
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
        recipes=with_params(RECIPES, {}),
    ),
]
