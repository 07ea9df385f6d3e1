"""Weighs its loss by Python's random numbers, which nobody seeds."""

import random
from dataclasses import replace

from metabench.api import AlgorithmSpec, FeatureHead, Stage, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="loss-from-python-random",
            version=1,
            target="loss_from_python_random:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=True,
            recipes={"*": Stage(way=5, shot=1, query=5, episodes=10, source="none")},
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()

    def logits(self, episode):
        return -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))

    def loss(self, episode, query_labels):
        query = episode.query * random.random()
        return (1 + random.random()) * super().loss(replace(episode, query=query), query_labels)
