"""MetaOptNet with ridge regression (Lee, Maji, Ravichandran and Soatto 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError, ridge_regression


class MetaOptNetRidge(FeatureHead):
    """Ridge regression to one-hot labels with a learned scale gamma of the scores.

    The dual problem max -1/2 sum_k |w_k|^2 - lambda/2 sum_k |a^k|^2 + sum_n a^{y_n}_n has the solution
    a = (X X' + lambda I)^-1 Y. The authors' code has 2 sum_n, so twice these scores; gamma starts at 2 instead.

    Args:
        feature_dim: D.
        penalty: lambda.
        scale: initial gamma, learned.
    """

    def __init__(self, feature_dim: int, penalty: float = 50.0, scale: float = 2.0) -> None:
        super().__init__()
        if penalty <= 0:
            raise UsageError(f"algo.penalty must be above 0, not {penalty}")
        self.penalty = penalty
        self.scale = nn.Parameter(torch.tensor(scale))

    def logits(self, episode: Episode) -> Tensor:
        """Return gamma x' w_k of each query, (B, Q, way), w_k = sum_n a^k_n x_n."""
        targets = F.one_hot(episode.labels, episode.way).to(episode.support.dtype)
        weights = ridge_regression(episode.support, targets, self.penalty)
        return self.scale * (episode.query @ weights)
