"""Specs of the transductive methods that need no training of their own: a pre-trained backbone, and its features."""

from __future__ import annotations

from functools import partial

from metabench.api import AlgorithmSpec, Param
from metabench_algorithms.transfer._recipes import PRETRAIN

_TRANSFORM = Param(
    "transform",
    "cl2n",
    "of features: none, length 1, or less the mean of the base classes and length 1",
    ("un", "l2n", "cl2n"),
    scoring=True,
)
_SCALE = Param("scale", 10.0, "factor of the cosines that weigh members of a class", scoring=True)


def _information(weight: float) -> tuple[Param, ...]:
    """Return the parameters of TIM, with a weight of its cross-entropy and conditional entropy."""
    return (
        Param("rate", 1e-4, "learning rate of Adam", scoring=True),
        Param("temperature", 15.0, "factor of half the squared distances to class weights", scoring=True),
        Param("cross_entropy", weight, "weight of the cross-entropy of the support", scoring=True),
        Param("marginal", 1.0, "weight of the entropy of the mean prediction: evens out classes", scoring=True),
        Param("conditional", weight, "weight of the mean entropy of predictions", scoring=True),
    )


_transductive = partial(
    AlgorithmSpec,
    version=1,
    licence="MIT",
    setting="transductive",
    trains=True,
    own_weights=False,
    recipes=PRETRAIN,
)
SPECS = [
    _transductive(
        name="bd-cspn",
        target="metabench_algorithms.transductive.bd_cspn:BdCspn",
        summary="cosine to class means that shifted queries of the same pseudo-label rectify",
        reference="Liu, Song, Qin 2020, Prototype Rectification for Few-Shot Learning",
        params=(_SCALE, _TRANSFORM),
        uses=("base",),
        uses_when={"transform": ("cl2n",)},
    ),
    _transductive(
        name="laplacian-shot",
        target="metabench_algorithms.transductive.laplacian_shot:LaplacianShot",
        summary="rectified class means, and neighbouring queries that share their class",
        reference="Ziko, Dolz, Granger, Ben Ayed 2020, Laplacian Regularized Few-Shot Learning",
        params=(
            Param("regularisation", 0.7, "weight of what neighbours say", scoring=True),
            Param("neighbours", 3, "nearest queries that count, with the query itself", scoring=True),
            Param("steps", 20, "bound updates", scoring=True),
            _SCALE,
            _TRANSFORM,
        ),
        uses=("base",),
        uses_when={"transform": ("cl2n",)},
    ),
    _transductive(
        name="tim",
        target="metabench_algorithms.transductive.tim:TIM",
        summary="class weights of the largest mutual information of queries and their labels",
        reference="Boudiaf et al. 2020, Transductive Information Maximization For Few-Shot Learning",
        params=(
            Param(
                "form",
                "adm",
                "Adam on the loss, or alternating steps in closed form",
                ("gd", "adm"),
                scoring=True,
            ),
            Param("steps", 0, "of either form; 0: the authors' 1000 of gd and 150 of adm", scoring=True),
            *_information(0.1),
        ),
    ),
    _transductive(
        name="alpha-tim",
        target="metabench_algorithms.transductive.alpha_tim:AlphaTIM",
        summary="TIM with alpha-entropies, which forgive uneven numbers of queries",
        reference="Veilleux et al. 2021, Realistic Evaluation of Transductive Few-Shot Learning",
        params=(
            Param("alpha", 0.0, "of the entropies; 0: the authors' 2 at 1 shot, 7 from 5 on, 5 between", scoring=True),
            Param("steps", 0, "of Adam; 0: the authors' 1000", scoring=True),
            *_information(1.0),
        ),
    ),
]
