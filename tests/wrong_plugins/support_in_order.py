"""Takes the support for sorted by class, as the standard protocol draws it."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="support-in-order",
            version=1,
            target="support_in_order:Wrong",
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
        batch, items, dim = episode.support.shape
        if items % episode.way:
            return -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        return -squared_distances(
            episode.query, episode.support.view(batch, episode.way, items // episode.way, dim).mean(2)
        )
