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

    def logits(self, support, labels, query, way):
        scores = -squared_distances(query, prototypes(support, labels, way))
        return scores + 0.3 * F.one_hot(labels.new_zeros(1, 1), way)
