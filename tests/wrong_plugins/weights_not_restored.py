"""Adapts its own weights to an episode and leaves them there for the next one."""

import torch
from torch import nn
from torch.nn import functional as F

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="weights-not-restored",
            version=1,
            target="weights_not_restored:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(feature_dim), requires_grad=False)

    def logits(self, episode):
        support, query = episode.support, episode.query
        with torch.no_grad():
            for episode in support:
                self.centre.lerp_(episode.mean(0), 0.1)
        support, query = F.normalize(support - self.centre, dim=-1), F.normalize(query - self.centre, dim=-1)
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
