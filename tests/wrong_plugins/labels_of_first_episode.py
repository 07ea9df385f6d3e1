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

    def logits(self, support, labels, query, way):
        return -squared_distances(query, prototypes(support, labels[:1].expand_as(labels), way))
