"""Algorithms that say of a parameter that it only scores, and train with some of its values."""

import torch
from torch import nn

from metabench.api import AlgorithmSpec, FeatureHead, Param, Stage, UsageError, hookimpl, prototypes, squared_distances


class Share(FeatureHead):
    """Trains with a share, which it takes up to 1 only"""

    def __init__(self, feature_dim, share):
        super().__init__()
        if not 0 < share <= 1:
            raise UsageError(f"algo.share must be above 0 and at most 1, not {share}")
        self.share = share
        self.scale = nn.Parameter(torch.ones(()))

    def logits(self, episode):
        distances = squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        return -self.scale * self.share * distances


class LastChoice(FeatureHead):
    """Trains with the last of three choices"""

    def __init__(self, feature_dim, metric):
        super().__init__()
        self.factor = 0.5 if metric == "half" else 1.0
        self.scale = nn.Parameter(torch.ones(()))

    def logits(self, episode):
        distances = squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        return -self.scale * self.factor * distances


def spec(name, target, param):
    return AlgorithmSpec(
        name=name,
        version=1,
        target=f"scoring_faults:{target.__name__}",
        summary="deliberately wrong",
        reference="none",
        licence="MIT",
        trains=True,
        params=(param,),
        recipes={"*": Stage(way=5, shot=1, query=5, episodes=10, source="none")},
    )


@hookimpl
def metabench_algorithms():
    return [
        spec("scoring-share-trains", Share, Param("share", 0.5, "of the scores", scoring=True)),
        spec(
            "scoring-choice-trains", LastChoice, Param("metric", "whole", "m", ("whole", "full", "half"), scoring=True)
        ),
    ]
