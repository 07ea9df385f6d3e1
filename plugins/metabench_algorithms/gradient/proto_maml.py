"""Proto-MAML (Triantafillou et al. 2020, Meta-Dataset, section 3.2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from metabench.api import Backbone, Weights, prototypes
from metabench_algorithms.gradient.maml import Maml


class ProtoMaml(Maml):
    """MAML whose classifier starts, in every task, as the one that Prototypical Networks amount to.

    With c_k the class means, ``-|f - c_k|^2 = 2 c_k . f - |c_k|^2 + const``: weights 2 c_k and biases -|c_k|^2.
    The gradient flows through them into the backbone. Nothing of a classifier is meta-learned.
    """

    def __init__(self, backbone: Backbone, way: int, **params: Any) -> None:
        super().__init__(backbone, way, **params)
        del self.classifier

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Make the classifier from the support features, then descend by all weights."""
        centres = prototypes(self.features(params, support)[None], labels[None], self.way)[0]
        head = {"classifier.weight": 2 * centres, "classifier.bias": -centres.square().sum(-1)}
        return super().adapt({**params, **head}, support, labels)
