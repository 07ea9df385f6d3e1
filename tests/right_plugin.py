"""A correct loose plugin: everything in one file, and nothing wrong with it."""

import torch

from metabench.api import AlgorithmSpec, FeatureHead, Param, Stage, hookimpl, squared_distances


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(
            name="soft-nearest",
            version=1,
            target="right_plugin:SoftNearest",
            summary="classes by the distances to all of their support images",
            reference="Goldberger et al. 2004, Neighbourhood Components Analysis, equation 1, on episodes",
            licence="MIT",
            trains=True,
            params=(Param("temperature", 4.0, "of the distances"),),
            recipes={"*": Stage(way=10, shot=0, query=3, episodes=100, source="none")},
        )
    ]


class SoftNearest(FeatureHead):
    """log of the sum of exp(-d / temperature) over the support of a class, divided by its size."""

    def __init__(self, feature_dim, temperature):
        super().__init__()
        self.temperature = temperature

    def logits(self, episode):
        closeness = -squared_distances(episode.query, episode.support) / self.temperature
        one_hot = torch.nn.functional.one_hot(episode.labels, episode.way).to(episode.support.dtype)
        return torch.logsumexp(closeness[..., None] + (one_hot / one_hot.sum(1, keepdim=True)).log()[:, None], 2)
