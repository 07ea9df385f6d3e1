"""Centres the numbers that it reads by the mean of all queries of an episode."""

from metabench.api import AlgorithmSpec, TaskAdaptiveAlgorithm, hookimpl


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="numbers-of-other-queries",
            version=1,
            target="numbers_of_other_queries:Wrong",
            summary="deliberately wrong",
            reference="none",
            licence="MIT",
            takes="images",
            answers=("numbers",),
            trains=False,
            backbone="mlp",
        )
    ]


class Wrong(TaskAdaptiveAlgorithm):
    def __init__(self, backbone, way):
        super().__init__(backbone, way, bn="running")

    def adapt(self, params, support, labels):
        return {"mean": labels.mean(0)}

    def predict(self, params, support, labels, query, step=-1):
        return params["mean"] + 0.1 * (query - query.mean(0))[:, :1]
