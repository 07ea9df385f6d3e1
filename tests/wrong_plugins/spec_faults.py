"""Heads whose specs contradict themselves."""

from metabench.api import AlgorithmSpec, FeatureHead, Stage, hookimpl, prototypes, squared_distances

COMMON = {"version": 1, "summary": "deliberately wrong", "reference": "none", "licence": "MIT"}


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="spec-other-way",
            target="spec_faults:OtherWay",
            trains=True,
            ways="one",
            recipes={"*": Stage(way=5, shot=1, query=5, episodes=10, validation_way=0, source="none")},
            **COMMON,
        ),
        AlgorithmSpec(
            name="spec-no-maps", target="spec_faults:NoMaps", trains=False, reads="maps", backbone="resnet12", **COMMON
        ),
    ]


class OtherWay(FeatureHead):
    """Fits one number of classes, and is trained for five whatever it is measured on"""

    def __init__(self, feature_dim, way):
        super().__init__()

    def logits(self, episode):
        return -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))


class NoMaps(FeatureHead):
    """Reads feature maps, and its own backbone has none"""

    def __init__(self, map_shape):
        super().__init__()

    def logits(self, episode):
        support, query = episode.support.flatten(2), episode.query.flatten(2)
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))
