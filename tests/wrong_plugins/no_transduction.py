"""Is declared transductive and looks at each query alone."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="no-transduction",
            version=1,
            target="no_transduction:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
            setting="transductive",
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()

    def logits(self, episode):
        return -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
