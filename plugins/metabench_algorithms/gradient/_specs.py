"""The specs of the gradient-based algorithms: parameters and published recipes."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, Param, Recipe

BN = Param(
    "bn",
    "transductive",
    "statistics of batch normalisation: of the pass with its queries, of the support set, or averaged in training",
    ("transductive", "support", "running"),
)
TOGETHER = {"bn": ("transductive",)}
INNER = (
    Param("lr", 0.4, "inner learning rate in training"),
    Param("steps", 1, "inner steps in training"),
    Param("test_lr", 0.0, "inner learning rate at evaluation; 0: as in training"),
    Param("test_steps", 0, "inner steps at evaluation; 0: as in training"),
    Param("first_order", False, "leave second derivatives out"),
    BN,
)
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
OMNIGLOT_20 = Recipe(
    way=0,
    shot=0,
    query=0,
    episodes=60_000 * 16,
    batch=16,
    lr=1e-3,
    validate_every=1000 * 16,
    validation_episodes=100,
    validation_way=0,
    validation_query=15,
    params={"lr": 0.1, "steps": 5, "test_steps": 5},
    source=f"{_FINN}, 20-way; the best of the weights by validation loss instead of the last",
)
SHORT = Recipe(
    way=0,
    shot=0,
    query=5,
    episodes=4000,
    batch=8,
    lr=3e-3,
    schedule="cosine",
    validate_every=1000,
    validation_episodes=60,
    validation_way=0,
    params={"lr": 0.4, "steps": 1, "test_steps": 3},
    source="a short recipe for the built-in data and a first look at others",
)
RECIPES = {"omniglot": OMNIGLOT_5, "omniglot/20-way": OMNIGLOT_20, "*": SHORT}


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
        backbone="conv4-strided",
        transductive_when=TOGETHER,
        **{"params": INNER, "recipes": RECIPES, **more},  # type: ignore[arg-type]
    )


SPECS = [
    _spec(
        "maml",
        "maml:Maml",
        "weights from which a few gradient steps solve a task",
        "Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    ),
    _spec(
        "anil",
        "anil:Anil",
        "MAML whose inner loop moves the classifier alone",
        "Raghu, Raghu, Bengio, Vinyals 2020, Rapid Learning or Feature Reuse?",
    ),
    _spec(
        "boil",
        "boil:Boil",
        "MAML whose inner loop moves the backbone alone",
        "Oh, Yoo, Kim, Yun 2021, BOIL: Towards Representation Change for Few-shot Learning",
    ),
]
