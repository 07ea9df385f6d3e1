"""Siamese networks (Koch, Zemel and Salakhutdinov 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, prototypes


class Siamese(FeatureHead):
    """Learns whether two images are of one class, and names the class of the support that is most like the query.

    Args:
        feature_dim: D.
        shots: of a class of several shots counts the ``mean`` similarity, or the ``largest``; the paper has one shot.
    """

    def __init__(self, feature_dim: int, shots: str = "mean") -> None:
        super().__init__()
        self.shots = shots
        # Below zero, so that what is nearer is more alike from the start on. The paper's 0.2 (section 3.2) of either
        # sign adds up to 0.2 sqrt(D); of one sign it is to add up to no more.
        self.alpha = nn.Parameter(-0.2 / feature_dim**0.5 * torch.randn(feature_dim).abs())
        self.bias = nn.Parameter(0.5 + 0.01 * torch.randn(()))

    def logits(self, episode: Episode) -> Tensor:
        """Return the similarity of the query to the support of each class, (B, Q, way) (section 4.2).

        It is taken before the sigmoid, which keeps the order and would round what is certain to equal.
        """
        similarity = self._similarity(episode.query, episode.support)
        if self.shots == "mean":
            return prototypes(similarity.mT, episode.labels, episode.way).mT
        index = episode.labels[:, None].expand_as(similarity)
        lowest = similarity.new_full((*similarity.shape[:2], episode.way), -torch.inf)
        return lowest.scatter_reduce(2, index, similarity, "amax")

    def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
        """Return the cross-entropy of same and different over the pairs of a query and a support image (section 3.2).

        Half of the authors' pairs are of one class. So pairs of one class weigh as much here, together, as all others.
        """
        similarity = self._similarity(episode.query, episode.support)
        same = query_labels[:, :, None] == episode.labels[:, None]
        losses = F.binary_cross_entropy_with_logits(similarity, same.to(similarity.dtype), reduction="none")
        return (losses[same].mean() + losses[~same].mean()) / 2

    def _similarity(self, query: Tensor, support: Tensor) -> Tensor:
        """Return sum_j alpha_j |h_1j - h_2j| + b of all pairs, (B, Q, S); its sigmoid is p (section 3.1).

        Distances weighted by alpha are those of features times alpha, apart for alpha above and below zero. The
        paper's formula has no bias, and two equal images would be of one class with probability 1/2.
        """
        above, below = self.alpha.relu(), (-self.alpha).relu()
        nearer, farther = (torch.cdist(query * part, support * part, p=1.0) for part in (above, below))
        return nearer - farther + self.bias
