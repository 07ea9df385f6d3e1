"""Chance: the floor of every table."""

from __future__ import annotations

from torch import Tensor

from metabench.api import Episode, FeatureHead


class Chance(FeatureHead):
    """Gives every class the same score; the harness breaks the ties at random, uniformly."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()

    def logits(self, episode: Episode) -> Tensor:
        """Return zeros (B, Q, way)."""
        return episode.query.new_zeros(*episode.query.shape[:2], episode.way)
