"""Batch normalisation left in train mode: every query is normalised by the others."""

import torch
from torch import nn

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="batch-norm-in-train-mode",
            version=1,
            target="batch_norm_in_train_mode:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        self.norm = nn.BatchNorm1d(feature_dim, track_running_stats=False)

    def logits(self, episode):
        support, query = episode.support, episode.query
        rows = torch.cat([support, query], 1)
        rows = torch.stack([self.norm(episode) for episode in rows])
        support, query = rows.split([support.shape[1], query.shape[1]], 1)
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
