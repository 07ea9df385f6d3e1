"""Heads that study the base classes wrongly."""

import torch
from torch import nn

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


class Centred(FeatureHead):
    """Nearest class mean of features less a centre; what is wrong is in how a class below makes it."""

    def __init__(self, feature_dim):
        super().__init__()
        self.register_buffer("centre", torch.zeros(feature_dim))

    def logits(self, episode):
        support, query = ((part - self.centre).relu() for part in (episode.support, episode.query))
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))


class AddsUp(Centred):
    """Adds the mean of what it studies to what it studied before"""

    def study(self, features, classes):
        self.centre = self.centre + features.mean(0)


class KeepsFeatures(Centred):
    """Keeps the first features that it studies as they are, in memory that is not its own"""

    def study(self, features, classes):
        self.centre = features[features.norm(dim=1).argmax()]


class MovesWeights(Centred):
    """Writes the mean of what it studies into a weight"""

    def __init__(self, feature_dim):
        super().__init__(feature_dim)
        self.offset = nn.Parameter(torch.zeros(feature_dim))

    def study(self, features, classes):
        self.centre = features.mean(0)
        self.offset.add_(features.std(0))


class WithoutEffect(Centred):
    """Studies the base classes and makes nothing of them"""

    def study(self, features, classes):
        self.register_buffer("unused", features.mean(0))


class KeepsOnTheClass(Centred):
    """Keeps what it studies on its class, which no file of weights holds"""

    seen = None

    def study(self, features, classes):
        self.centre = features.mean(0)
        KeepsOnTheClass.seen = features.std(0)

    def logits(self, episode):
        scores = super().logits(episode)
        return scores if self.seen is None else scores * self.seen.mean() ** 2


class Undeclared(Centred):
    """Has a method study and does not say that it uses the base classes"""

    def study(self, features, classes):
        self.centre = features.mean(0)


def spec(name, target, uses=("base",)):
    return AlgorithmSpec(
        name=name,
        version=1,
        target=f"study_faults:{target.__name__}",
        summary="deliberately wrong",
        reference="none",
        licence="MIT",
        trains=False,
        uses=uses,
    )


@hookimpl
def metabench_algorithms():
    return [
        spec("study-adds-up", AddsUp),
        spec("study-keeps-features", KeepsFeatures),
        spec("study-moves-weights", MovesWeights),
        spec("study-without-effect", WithoutEffect),
        spec("study-keeps-on-the-class", KeepsOnTheClass),
        spec("study-undeclared", Undeclared, uses=()),
    ]
