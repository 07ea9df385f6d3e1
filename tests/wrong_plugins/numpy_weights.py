"""Draws its weights from NumPy's global random numbers, which nobody seeds."""

import numpy as np
import torch

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="numpy-weights",
            version=1,
            target="numpy_weights:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        weights = np.random.randn(feature_dim, feature_dim).astype("float32")  # noqa: NPY002
        self.register_buffer("projection", torch.from_numpy(weights))

    def logits(self, episode):
        support, query = episode.support, episode.query
        support, query = support @ self.projection, query @ self.projection
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
