"""Published training recipes of the gradient-based algorithms, and short ones for a first look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metabench.api import Stage, Value

FINN = "Finn et al. 2017, appendix A.1, and the authors' main.py"
OMNIGLOT_5 = Stage(
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
    source=f"{FINN}, 5-way; the best of the weights by validation loss instead of the last",
)
OMNIGLOT_20 = replace(
    OMNIGLOT_5,
    episodes=60_000 * 16,
    batch=16,
    validate_every=1000 * 16,
    validation_episodes=100,
    params={"lr": 0.1, "steps": 5, "test_steps": 5},
    source=f"{FINN}, 20-way; the best of the weights by validation loss instead of the last",
)
SHORT = Stage(
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
REPTILE = Stage(
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


def with_params(
    recipes: Mapping[str, Stage], params: Mapping[str, Value], text: Mapping[str, Value] | None = None
) -> dict[str, Stage]:
    """Return the recipes with these parameters of the inner loop, and for text also those in `text`."""
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
SINUSOID = Stage(
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
    source=f"{FINN}, for sinusoids, and 15,000 instead of 70,000 updates; there is no batch normalisation",
)


def with_sinusoid(recipes: Mapping[str, Stage], **params: Value) -> dict[str, Stage]:
    return {**recipes, "sinusoid": replace(SINUSOID, params={**SINUSOID.params, **params})}
