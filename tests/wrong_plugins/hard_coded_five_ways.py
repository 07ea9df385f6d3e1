"""Always answers for five classes."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="hard-coded-five-ways",
            version=1,
            target="hard_coded_five_ways:Wrong",
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
        return -squared_distances(episode.query, prototypes(episode.support, episode.labels, 5))
