"""Built-in algorithms, registered through the public hooks."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, Exempt, Param, hookimpl
from metabench_algorithms.closed_form import _specs as closed_form
from metabench_algorithms.gradient import _specs as gradient
from metabench_algorithms.metric._recipes import RECIPES
from metabench_algorithms.transfer import _specs as transfer

SPECS = [
    *gradient.SPECS,
    *transfer.SPECS,
    *closed_form.SPECS,
    AlgorithmSpec(
        name="protonet",
        version=1,
        target="metabench_algorithms.metric.protonet:ProtoNet",
        summary="nearest class mean in a learned feature space",
        reference="Snell, Swersky, Zemel 2017, Prototypical Networks for Few-shot Learning",
        licence="MIT",
        trains=True,
        own_weights=False,
        params=(
            Param(
                "per_feature",
                False,
                "divide distances by the number of features: learns quicker",
                omit_default=True,
            ),
        ),
        recipes=RECIPES,
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
        recipes=RECIPES,
    ),
    AlgorithmSpec(
        name="nearest-mean",
        version=1,
        target="metabench_algorithms.metric.protonet:NearestMean",
        summary="nearest class mean of the features as they are, by default of pixels",
        reference="the rule of Snell et al. 2017 without any learning",
        licence="MIT",
        trains=False,
        backbone="pixels",
    ),
    AlgorithmSpec(
        name="hausdorff",
        version=1,
        target="metabench_algorithms.metric.hausdorff:Hausdorff",
        summary="nearest drawing by the modified Hausdorff distance between sets of ink pixels",
        reference="Dubuisson and Jain 1994; the baseline of Lake et al. 2015, demo_classification.py of their code",
        licence="MIT",
        trains=False,
        backbone="pixels",
        params=(Param("threshold", 0.5, "pixels above it are ink, paper being 0 and ink 1"),),
        exempt=(Exempt("separable-classes", "it sees which numbers are above the threshold, not how far"),),
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
    AlgorithmSpec(
        name="support-mean",
        version=1,
        target="metabench_algorithms.metric.support_mean:SupportMean",
        summary="predicts the mean of the numbers in the support; the floor of regression",
        reference="none",
        licence="MIT",
        takes="images",
        trains=False,
        answers=("numbers",),
        backbone="mlp",
    ),
]


@hookimpl
def metabench_algorithms() -> list[AlgorithmSpec]:
    """Return the built-in algorithms."""
    return SPECS
