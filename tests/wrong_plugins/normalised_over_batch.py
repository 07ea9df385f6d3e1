"""Centres and scales features by the mean of the whole batch of episodes."""

from torch.nn import functional as F

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="normalised-over-batch",
            version=1,
            target="normalised_over_batch:Wrong",
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
        centre = support.mean((0, 1))
        support, query = F.normalize(support - centre, dim=-1), F.normalize(query - centre, dim=-1)
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
