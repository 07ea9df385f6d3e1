"""Linear probe: logistic regression on frozen features, fitted to every episode."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError, logistic_regression


class LinearProbe(FeatureHead):
    """Multinomial logistic regression with an L2 penalty, to the optimum (as in Tian et al. 2020).

    Args:
        feature_dim: D.
        c: inverse strength of the penalty, the C of scikit-learn.
        normalise: divide features by their Euclidean length first.
    """

    def __init__(self, feature_dim: int, c: float = 1.0, normalise: bool = True) -> None:
        super().__init__()
        if c <= 0:
            raise UsageError(f"algo.c must be above 0, not {c}")
        self.c, self.normalise = c, normalise

    def logits(self, episode: Episode) -> Tensor:
        """Return W' x + b of each query, (B, Q, way)."""
        if not self.normalise:
            weights, intercept = logistic_regression(episode.support, episode.labels, episode.way, self.c)
            return episode.query @ weights + intercept
        weights, intercept = logistic_regression(
            F.normalize(episode.support, dim=-1), episode.labels, episode.way, self.c
        )
        # Dividing the scores is dividing the queries, of which there are many more values.
        lengths: Tensor = torch.linalg.vector_norm(episode.query, dim=-1, keepdim=True).clamp_min(1e-12)
        return episode.query @ weights / lengths + intercept
