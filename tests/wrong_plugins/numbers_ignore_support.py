"""Predicts a number from the query alone, whatever points of its function it was shown."""

from metabench.api import AlgorithmSpec, TaskAdaptiveAlgorithm, hookimpl


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="numbers-ignore-support",
            version=1,
            target="numbers_ignore_support:Wrong",
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
        return query[:, :1].expand(-1, self.way)
