"""Divides by zero in its constructor."""

from metabench.api import AlgorithmSpec, FeatureHead, Stage, hookimpl


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="constructor-raises",
            version=1,
            target="constructor_raises:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            trains=True,
            recipes={"*": Stage(way=5, shot=1, query=5, episodes=10, source="none")},
        )
    ]


class Wrong(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        self.scale = feature_dim / 0

    def logits(self, episode):
        return episode.query[..., : episode.way]
