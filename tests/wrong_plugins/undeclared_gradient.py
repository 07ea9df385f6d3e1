"""Descends a loss of the support in evaluation, and does not say that it needs gradients for that."""

import torch
from torch.nn import functional as F

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="undeclared-gradient",
            version=1,
            target="undeclared_gradient:Wrong",
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
        means = prototypes(episode.support, episode.labels, episode.way).requires_grad_()
        scores = -squared_distances(episode.support, means)
        loss = F.cross_entropy(scores.flatten(0, 1), episode.labels.flatten(), reduction="sum")
        (slope,) = torch.autograd.grad(loss, means)
        return -squared_distances(episode.query, means - 0.01 * slope)
