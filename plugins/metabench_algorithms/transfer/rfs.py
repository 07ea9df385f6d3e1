"""Rethinking few-shot classification (Tian, Wang, Krishnan, Tenenbaum and Isola 2020)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from metabench.api import Episode
from metabench_algorithms.transfer.linear_probe import LinearProbe


class Rfs(LinearProbe):
    """Logistic regression on features of a backbone that classified the training classes (section 3.2).

    Distillation (section 3.3) is a stage of its recipes.

    Args:
        feature_dim: D.
        c, normalise: see `LinearProbe`.
        views: fit to five augmented copies of each support image instead of the image, as the authors' code does.
    """

    def __init__(self, feature_dim: int, c: float = 1.0, normalise: bool = True, views: bool = False) -> None:
        super().__init__(feature_dim, c, normalise)
        self.views = views

    def logits(self, episode: Episode) -> Tensor:
        """Return W' x + b of each query, (B, Q, way)."""
        if self.views and episode.views is not None:
            copies = episode.labels[..., None].expand(episode.views.shape[:3])
            episode = replace(episode, support=episode.views.flatten(1, 2), labels=copies.flatten(1))
        return super().logits(episode)
