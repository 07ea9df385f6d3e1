"""Uses the labels of the first episode for the whole batch."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="labels-of-first-episode",
            version=1,
            target="labels_of_first_episode:Wrong",
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
        return -squared_distances(
            episode.query, prototypes(episode.support, episode.labels[:1].expand_as(episode.labels), episode.way)
        )
