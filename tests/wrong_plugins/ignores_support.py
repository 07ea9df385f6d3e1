"""Scores queries by themselves and never looks at the support."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="ignores-support",
            version=1,
            target="ignores_support:Wrong",
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
        return episode.query[..., :1] * episode.labels.new_ones(episode.way).cumsum(0)
