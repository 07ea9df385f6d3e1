"""R2-D2: Ridge Regression Differentiable Discriminator (Bertinetto, Henriques, Torr and Vedaldi 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError, ridge_regression


class R2D2(FeatureHead):
    """Ridge regression to one-hot labels, whose penalty and output scale are learned.

    W = X' (X X' + lambda I)^-1 Y for the support, and alpha x' W for a query (section 3.2). The paper's beta, the same
    for all classes, would change no softmax. The authors' code has a constant feature besides, and divides X and Y by
    the square root of the number of their rows, so that lambda grows with it.

    Args:
        feature_dim: D.
        penalty: initial lambda, learned as its logarithm.
        scale: initial alpha, learned.
    """

    def __init__(self, feature_dim: int, penalty: float = 50.0, scale: float = 10.0) -> None:
        super().__init__()
        if penalty <= 0:
            raise UsageError(f"algo.penalty must be above 0, not {penalty}")
        self.log_penalty = nn.Parameter(torch.tensor(math.log(penalty)))
        self.scale = nn.Parameter(torch.tensor(scale))

    def logits(self, episode: Episode) -> Tensor:
        """Return alpha x' W of each query, (B, Q, way)."""
        targets = F.one_hot(episode.labels, episode.way).to(episode.support.dtype)
        weights = ridge_regression(episode.support, targets, self.log_penalty.exp())
        return self.scale * (episode.query @ weights)
