"""Says that it reads the support as a sequence, and does not."""

from metabench.api import AlgorithmSpec, Exempt, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="needless-exemption",
            version=1,
            target="needless_exemption:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=False,
            exempt=(Exempt("support-order", "it was meant to be a sequence model"),),
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()

    def logits(self, episode):
        return -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
