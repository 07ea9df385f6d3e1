"""Weighs its loss by Python's random numbers, which nobody seeds."""

import random

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

    def logits(self, support, labels, query, way):
        return -squared_distances(query, prototypes(support, labels, way))

    def loss(self, support, labels, query, query_labels, way):
        return (1 + random.random()) * super().loss(support, labels, query * random.random(), query_labels, way)
