"""Meta-Baseline (Chen, Liu, Xu, Darrell and Wang 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError, prototypes


class MetaBaseline(FeatureHead):
    """The cosine to the class mean, times a learned temperature (section 3, equation 2).

    Args:
        feature_dim: D.
        temperature: initial factor of the cosines, learned as its logarithm.
    """

    def __init__(self, feature_dim: int, temperature: float = 10.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise UsageError(f"algo.temperature must be above 0, not {temperature}")
        self.log_scale = nn.Parameter(torch.tensor(math.log(temperature)))

    def logits(self, episode: Episode) -> Tensor:
        """Return tau <f(x), w_k>, the cosine of the query and the mean w_k of its support, (B, Q, way)."""
        means = prototypes(episode.support, episode.labels, episode.way)
        cosines = F.normalize(episode.query, dim=-1) @ F.normalize(means, dim=-1).mT
        return cosines * self.log_scale.exp()
