"""Decides by itself, with argmax, so that of equal classes the first wins."""

from torch.nn import functional as F

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="ties-by-index",
            version=1,
            target="ties_by_index:Wrong",
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
        scores = -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        return F.one_hot(scores.argmax(-1), episode.way).float()
