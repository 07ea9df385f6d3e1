"""BD-CSPN, bias diminishing in a cosine-similarity prototypical network (Liu, Song and Qin 2020)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, UsageError
from metabench_algorithms.transductive._rectification import rectified_prototypes
from metabench_algorithms.transfer.simpleshot import SimpleShot


class BdCspn(SimpleShot):
    """The largest cosine to class means that were rectified by the queries (section 3).

    Args:
        feature_dim: D.
        scale: epsilon, factor of the cosines in the weights of rectification.
        transform: see `SimpleShot`.

    Raises:
        UsageError: a scale that is not above 0.
    """

    def __init__(self, feature_dim: int, scale: float = 10.0, transform: str = "cl2n") -> None:
        super().__init__(feature_dim, transform)
        if scale <= 0:
            raise UsageError(f"algo.scale must be above 0, not {scale}")
        self.scale = scale

    def logits(self, episode: Episode) -> Tensor:
        """Return the cosine of each query, not shifted, and the rectified mean of each class, (B, Q, way)."""
        support, query = self._transformed(episode.support), self._transformed(episode.query)
        means = rectified_prototypes(support, episode.labels, query, episode.way, self.scale)
        return F.normalize(query, dim=-1) @ F.normalize(means, dim=-1).mT
