"""Correct heads, one for each thing that a head may ask of the harness."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, one_hot

from metabench.api import AlgorithmSpec, Exempt, FeatureHead, Param, Stage, hookimpl, prototypes, squared_distances

RECIPE = Stage(way=0, shot=0, query=3, episodes=300, validation_way=0, source="none")
COMMON = {"version": 1, "summary": "correct", "reference": "none", "licence": "MIT"}


@hookimpl
def metabench_algorithms():
    return [
        AlgorithmSpec(name="local-match", target="right_heads:LocalMatch", trains=False, reads="maps", **COMMON),
        AlgorithmSpec(
            name="one-way",
            target="right_heads:OneWay",
            trains=True,
            ways="one",
            recipes={"*": RECIPE},
            params=(Param("share", 1.0, "of the network's part, in evaluation", scoring=True),),
            exempt=(Exempt("label-permutation", "each class has weights of its own"),),
            **COMMON,
        ),
        AlgorithmSpec(
            name="against-base",
            target="right_heads:AgainstBase",
            trains=False,
            uses=("base",),
            **COMMON,
        ),
        AlgorithmSpec(
            name="tuned",
            target="right_heads:Tuned",
            trains=False,
            params=(Param("steps", 10, "of gradient descent", scoring=True),),
            **COMMON,
        ),
    ]


class LocalMatch(FeatureHead):
    """Each position of a query finds the most similar one in the maps of a class (Li et al. 2019, DN4, with k = 1)."""

    def __init__(self, map_shape):
        super().__init__()
        self.map_shape = map_shape

    def logits(self, episode):
        support, query = (normalize(maps.flatten(3), dim=2) for maps in (episode.support, episode.query))
        products = (query[:, :, None].mT @ item[:, None, None] for item in support.unbind(1))  # (B, Q, 1, HW, HW)
        similar = torch.cat([product.amax(-1).sum(-1) for product in products], -1)  # (B, Q, S)
        return _of_classes(similar, episode.labels, episode.way)


def _of_classes(similar, labels, way):
    """Return the largest similarity (B, Q, way) to an item of each class, of those to every item (B, Q, S)."""
    other = 1 - one_hot(labels, way)[:, None]  # (B, 1, S, way)
    return (similar[..., None] - 1e4 * other).amax(2)


class OneWay(FeatureHead):
    """Distances to class means, to which a network adds what it makes of all of them, class by class."""

    def __init__(self, feature_dim, share, way):
        super().__init__()
        self.share = share
        self.mix = nn.Linear(way, way, bias=False)
        nn.init.normal_(self.mix.weight, std=0.01)

    def logits(self, episode):
        distances = squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        scores = -distances / episode.query.shape[-1]
        return scores + (1.0 if self.training else self.share) * self.mix(scores)


class AgainstBase(FeatureHead):
    """Nearest class mean of the similarities to the mean of each base class."""

    def __init__(self, feature_dim):
        super().__init__()
        self.register_buffer("base_means", torch.zeros(1, feature_dim))

    def study(self, features, classes):
        self.base_means = prototypes(features[None], classes[None], int(classes.max()) + 1)[0]

    def logits(self, episode):
        support, query = (part @ self.base_means.T / 10 for part in (episode.support, episode.query))
        return -squared_distances(query, prototypes(support, episode.labels, episode.way))


class Tuned(FeatureHead):
    """A linear classifier that starts from the class means and descends the loss of the support."""

    needs_grad = True

    def __init__(self, feature_dim, steps):
        super().__init__()
        self.steps = steps

    def logits(self, episode):
        support, query = (normalize(part, dim=-1) for part in (episode.support, episode.query))
        weights = prototypes(support, episode.labels, episode.way).detach().requires_grad_()
        for _ in range(self.steps):
            scores = 10 * support @ weights.mT
            loss = cross_entropy(scores.flatten(0, 1), episode.labels.flatten(), reduction="sum")
            (slope,) = torch.autograd.grad(loss, weights)
            weights = (weights - 0.01 * slope).detach().requires_grad_()
        return query @ weights.mT
