"""MetaOptNet with support vector machines (Lee, Maji, Ravichandran and Soatto 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabench.api import Episode, FeatureHead, UsageError, crammer_singer


class MetaOptNetSVM(FeatureHead):
    """The multi-class support vector machine of Crammer and Singer (2001) with a learned scale gamma of the scores.

    Its dual problem (section 3.2) is solved to the optimum; the authors' code ends a general solver after 15 iterations
    in training, and after 3 in evaluation.

    Args:
        feature_dim: D.
        c: weight of the hinge losses.
        diagonal: added to the diagonal of X X', as the authors' code does; the paper has none.
        scale: initial gamma, learned.
    """

    def __init__(self, feature_dim: int, c: float = 0.1, diagonal: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        if c <= 0 or diagonal < 0:
            raise UsageError(f"algo.c must be above 0 and algo.diagonal at least 0, not {c} and {diagonal}")
        self.c, self.diagonal = c, diagonal
        self.scale = nn.Parameter(torch.tensor(scale))

    def logits(self, episode: Episode) -> Tensor:
        """Return gamma x' w_k of each query, (B, Q, way), w_k = sum_n a^k_n x_n."""
        support = episode.support.double()
        gram = support @ support.mT
        gram = gram + self.diagonal * torch.eye(gram.shape[1]).to(gram)
        coefficients = crammer_singer(gram, episode.labels, episode.way, self.c)
        weights = (support.mT @ coefficients).to(episode.query.dtype)  # a sum that cancels
        return self.scale * (episode.query @ weights)
