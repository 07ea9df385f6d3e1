"""LaplacianShot (Ziko, Dolz, Granger and Ben Ayed 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.api import Episode, UsageError, squared_distances
from metabench_algorithms.transductive._rectification import rectified_prototypes
from metabench_algorithms.transfer.simpleshot import SimpleShot


class LaplacianShot(SimpleShot):
    """Soft assignments of queries to classes, near their class means and like those of neighbouring queries.

    They minimise sum_q y_q' a_q - lambda / 2 sum_pq w_pq y_p' y_q (section 3.1, the Laplacian without its constant)
    by bound optimisation (section 3.2), on rectified class means (section 4.2).

    Args:
        feature_dim: D.
        regularisation: lambda, weight of the Laplacian; the authors choose from 0.1 to 1.5 by validation.
        neighbours: k, of a query with itself among them, as in `create_affinity` of the authors' train_lshot.py.
        steps: bound updates. The authors stop earlier where the energy changes by less than 1e-6 of itself.
        scale: factor of the cosines in the weights of rectification.
        transform: see `SimpleShot`.

    Raises:
        UsageError: a parameter out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        regularisation: float = 0.7,
        neighbours: int = 3,
        steps: int = 20,
        scale: float = 10.0,
        transform: str = "cl2n",
    ) -> None:
        super().__init__(feature_dim, transform)
        for name, value, least in (
            ("regularisation", regularisation, 0),
            ("neighbours", neighbours, 2),
            ("steps", steps, 1),
        ):
            if value < least:
                raise UsageError(f"algo.{name} must be at least {least}, not {value}")
        if scale <= 0:
            raise UsageError(f"algo.scale must be above 0, not {scale}")
        self.regularisation, self.neighbours, self.steps, self.scale = regularisation, neighbours, steps, scale

    def logits(self, episode: Episode) -> Tensor:
        """Return log y_q up to a constant of each query, (B, Q, way)."""
        support, query = self._transformed(episode.support), self._transformed(episode.query)
        means = rectified_prototypes(support, episode.labels, query, episode.way, self.scale)
        distances = squared_distances(query, means)  # a_q
        affinity = self.regularisation * self._affinity(query)
        scores = -distances
        for _ in range(self.steps):
            scores = affinity @ scores.softmax(-1) - distances  # equation 7
        return scores

    def _affinity(self, query: Tensor) -> Tensor:
        """Return w_pq (B, Q, Q): 1 where q is one of the k - 1 queries nearest to p, 0 elsewhere."""
        products = query @ query.mT
        closeness = 2 * products - products.diagonal(dim1=1, dim2=2)[:, None]
        closeness.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        count = min(self.neighbours, query.shape[1]) - 1
        if not count:
            return torch.zeros_like(closeness)
        return (closeness >= closeness.topk(count, -1).values[..., -1:]).to(query)
