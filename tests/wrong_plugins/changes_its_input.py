"""Centres support and queries in place, so that others get the centred ones."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="changes-its-input",
            version=1,
            target="changes_its_input:Wrong",
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
        support, query = episode.support, episode.query
        centre = support.mean(1, keepdim=True)
        support -= centre
        query -= centre
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
