"""Keeps the prototypes of the first episode of each form in the module, for all instances."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="prototypes-cached-globally",
            version=1,
            target="prototypes_cached_globally:Wrong",
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
        if support.shape not in CACHE:
            CACHE[support.shape] = prototypes(support, labels, way)
        return -squared_distances(query, CACHE[support.shape])


CACHE = {}
