"""Seeds the global random numbers to make its noise repeatable."""

import torch

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="global-seed-set",
            version=1,
            target="global_seed_set:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()

    def logits(self, episode):
        torch.manual_seed(0)
        directions = torch.randn(episode.support.shape[-1], episode.support.shape[-1])
        return -squared_distances(
            episode.query @ directions, prototypes(episode.support @ directions, episode.labels, episode.way)
        )
