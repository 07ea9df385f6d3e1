"""Prefers label 0 a little."""

from torch.nn import functional as F

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="favourite-label",
            version=1,
            target="favourite_label:Wrong",
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
        return scores + 0.3 * F.one_hot(episode.labels.new_zeros(1, 1), episode.way)
