"""Correct heads, one for each thing that a head may ask of the harness."""

from torch.nn.functional import normalize, one_hot

from metabench.api import AlgorithmSpec, FeatureHead, hookimpl

COMMON = {"version": 1, "summary": "correct", "reference": "none", "licence": "MIT"}


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(name="local-match", target="right_heads:LocalMatch", trains=False, reads="maps", **COMMON),
    ]


class LocalMatch(FeatureHead):
    """Each position of a query finds the most similar one in the maps of a class (Li et al. 2019, DN4, with k = 1)."""

    def __init__(self, map_shape):
        super().__init__()
        self.map_shape = map_shape

    def logits(self, episode):
        support, query = (normalize(maps.flatten(3), dim=2) for maps in (episode.support, episode.query))
        similar = (query[:, :, None].transpose(-1, -2) @ support[:, None]).amax(-1).sum(-1)  # (B, Q, S)
        return _of_classes(similar, episode.labels, episode.way)


def _of_classes(similar, labels, way):
    """Return the largest similarity (B, Q, way) to an item of each class, of those to every item (B, Q, S)."""
    other = 1 - one_hot(labels, way)[:, None]  # (B, 1, S, way)
    return (similar[..., None] - 1e4 * other).amax(2)
