"""Keeps the prototypes of the first episode of each form."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="prototypes-cached",
            version=1,
            target="prototypes_cached:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        self.cache = {}

    def logits(self, episode):
        if episode.support.shape not in self.cache:
            self.cache[episode.support.shape] = prototypes(episode.support, episode.labels, episode.way)
        return -squared_distances(episode.query, self.cache[episode.support.shape])
