"""Takes the support for sorted by class, as the standard protocol draws it."""

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl, prototypes, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="support-in-order",
            version=1,
            target="support_in_order:Wrong",
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
        batch, items, dim = support.shape
        if items % way:
            return -squared_distances(query, prototypes(support, labels, way))
        return -squared_distances(query, support.view(batch, way, items // way, dim).mean(2))
