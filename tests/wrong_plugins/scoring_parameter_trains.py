"""Says that its temperature only scores, and trains with it."""

import torch
from torch import nn

from metabench.api import AlgorithmSpec, FeatureHead, Param, Stage, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="scoring-parameter-trains",
            version=1,
            target="scoring_parameter_trains:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=True,
            params=(Param("temperature", 2.0, "of the distances", scoring=True),),
            recipes={"*": Stage(way=5, shot=1, query=5, episodes=10, source="none")},
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim, temperature):
        super().__init__()
        self.temperature = temperature
        self.scale = nn.Parameter(torch.ones(()))

    def logits(self, episode):
        distances = squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        return -self.scale * distances / self.temperature
