"""Built-in algorithms, registered through the public hooks."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, Exempt, Param, Recipe, hookimpl
from metabench_algorithms.gradient import _specs as gradient

_SNELL = "Snell et al. 2017, sections 3.1-3.2 and the authors' run_train.py and run_trainval.py"
_OMNIGLOT = Recipe(
    way=60,
    shot=0,
    query=5,
    episodes=10_000,
    lr_step=2000,
    validate_every=500,
    train_on="train+val",
    source=f"{_SNELL}; a fixed number of episodes instead of the best by validation, which they wait 20,000 more for",
)
_SHORT = Recipe(
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


@hookimpl
def metabench_algorithms() -> list[AlgorithmSpec]:
    """Return the built-in algorithms."""
    return [
        *gradient.SPECS,
        AlgorithmSpec(
            name="protonet",
            version=1,
            target="metabench_algorithms.metric.protonet:ProtoNet",
            summary="nearest class mean in a learned feature space",
            reference="Snell, Swersky, Zemel 2017, Prototypical Networks for Few-shot Learning",
            licence="MIT",
            trains=True,
            recipes={"omniglot": _OMNIGLOT, "*": _SHORT},
        ),
        AlgorithmSpec(
            name="matching-net",
            version=1,
            target="metabench_algorithms.metric.matching_net:MatchingNet",
            summary="attention over the support set, optionally with full-context embeddings",
            reference="Vinyals et al. 2016, Matching Networks for One Shot Learning",
            licence="MIT",
            trains=True,
            params=(
                Param("metric", "cosine", "similarity of features", ("cosine", "euclidean")),
                Param("temperature", 10.0, "initial scale of cosine similarities; learned"),
                Param("fce", False, "full-context embeddings: bidirectional LSTM and attention LSTM"),
                Param("steps", 5, "processing steps of the attention LSTM"),
            ),
            exempt=(Exempt("support-order", "the bidirectional LSTM reads the support as a sequence", {"fce": True}),),
            recipes={"omniglot": _OMNIGLOT, "*": _SHORT},
        ),
        AlgorithmSpec(
            name="nearest-mean",
            version=1,
            target="metabench_algorithms.metric.protonet:ProtoNet",
            summary="nearest class mean of the features as they are, by default of pixels",
            reference="the rule of Snell et al. 2017 without any learning",
            licence="MIT",
            trains=False,
            backbone="pixels",
        ),
        AlgorithmSpec(
            name="nearest-mean-l2n",
            version=1,
            target="metabench_algorithms.metric.protonet:UnitMean",
            summary="nearest class mean of the features divided by their length, by default of pixels",
            reference="Wang, Chao, Weinberger, van der Maaten 2019, SimpleShot: L2N, its rule without centring",
            licence="MIT",
            trains=False,
            backbone="pixels",
        ),
        AlgorithmSpec(
            name="linear-probe",
            version=1,
            target="metabench_algorithms.transfer.linear_probe:LinearProbe",
            summary="logistic regression on the features as they are, by default of pixels",
            reference="Tian et al. 2020, Rethinking Few-shot Image Classification: a Good Embedding Is All You Need?",
            licence="MIT",
            trains=False,
            backbone="pixels",
            params=(
                Param("c", 1.0, "inverse strength of the L2 penalty, as in scikit-learn"),
                Param("normalise", True, "divide features by their length first"),
            ),
        ),
        AlgorithmSpec(
            name="chance",
            version=1,
            target="metabench_algorithms.metric.chance:Chance",
            summary="guesses; the floor of every table",
            reference="none",
            licence="MIT",
            trains=False,
            backbone="pixels",
            exempt=(Exempt("separable-classes", "it guesses"),),
        ),
    ]
