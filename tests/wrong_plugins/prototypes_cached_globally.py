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

    def logits(self, episode):
        if episode.support.shape not in CACHE:
            CACHE[episode.support.shape] = prototypes(episode.support, episode.labels, episode.way)
        return -squared_distances(episode.query, CACHE[episode.support.shape])


CACHE = {}
