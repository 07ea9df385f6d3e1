"""Seeds torch in its constructor, so that all training seeds are one."""

import torch

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="seeded-constructor",
            version=1,
            target="seeded_constructor:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("directions", torch.randn(feature_dim, feature_dim))

    def logits(self, episode):
        support, query = episode.support, episode.query
        support, query = support @ self.directions, query @ self.directions
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
