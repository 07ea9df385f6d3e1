"""Has a parameter that nobody can set or read about, and no reference."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="undocumented",
            version=1,
            target="undocumented:Wrong",
            summary="deliberately wrong",
            reference="",
            licence="MIT",
            trains=False,
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim, secret=3):
        super().__init__()
        self.secret = secret

    def logits(self, episode):
        return -self.secret * squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
