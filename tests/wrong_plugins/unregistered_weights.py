"""Draws a projection at the start and does not register it, so that no checkpoint has it."""

import torch

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="unregistered-weights",
            version=1,
            target="unregistered_weights:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        self.projection = torch.randn(feature_dim, feature_dim)

    def logits(self, episode):
        support, query = episode.support, episode.query
        support, query = support @ self.projection, query @ self.projection
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
