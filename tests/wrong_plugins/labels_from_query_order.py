"""Knows that queries are drawn class by class, and reads their labels from their positions."""

import torch
from torch.nn import functional as F

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="labels-from-query-order",
            version=1,
            target="labels_from_query_order:Wrong",
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
        scores = -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        position = torch.arange(episode.query.shape[1]) * episode.way // episode.query.shape[1]
        return scores + 1000 * F.one_hot(position, episode.way)
