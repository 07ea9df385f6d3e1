"""FEAT, Few-shot Embedding Adaptation with a Transformer (Ye, Hu, Zhan and Sha 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError, prototypes, squared_distances


class FEAT(FeatureHead):
    """Class means are adapted to each other by self-attention before queries are compared with them (section 3).

    Args:
        feature_dim: D.
        temperature: divides the distances to the adapted class means.
        balance: lambda, weight of the contrastive loss; 0 leaves it out.
        balance_temperature: divides the distances in that loss.

    Raises:
        UsageError: a temperature that is not above 0.
    """

    def __init__(
        self, feature_dim: int, temperature: float = 64.0, balance: float = 1.0, balance_temperature: float = 16.0
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("balance_temperature", balance_temperature)):
            if value <= 0:
                raise UsageError(f"algo.{name} must be above 0, not {value}")
        self.adapt = SetAttention(feature_dim)
        self.temperature, self.balance, self.balance_temperature = temperature, balance, balance_temperature

    def logits(self, episode: Episode) -> Tensor:
        """Return -|f(x) - psi_k|^2 / T, psi = T({c_1, ..., c_way}) the adapted class means (equations 3 and 4)."""
        adapted = self.adapt(prototypes(episode.support, episode.labels, episode.way))
        return -squared_distances(episode.query, adapted) / self.temperature

    def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
        """Return the cross-entropy of `logits` plus lambda times the contrastive loss (equation 7)."""
        loss = super().loss(episode, query_labels)
        return loss + self.balance * self._contrast(episode, query_labels) if self.balance else loss

    def _contrast(self, episode: Episode, query_labels: Tensor) -> Tensor:
        """Return the cross-entropy of all items, support and query, against the centres of their adapted classes.

        Each class is a set of its own here: items attend to those of their class alone.
        """
        items, labels = torch.cat([episode.support, episode.query], 1), torch.cat([episode.labels, query_labels], 1)
        strangers = labels[:, :, None] != labels[:, None]
        centres = prototypes(self.adapt(items, strangers), labels, episode.way)
        scores = -squared_distances(items, centres) / self.balance_temperature
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten())


class SetAttention(nn.Module):
    """Self-attention with one head, a residual connection and layer norm: a function of a set (section 3.2.4).

    Dropout is that of the authors' code, 0.1 of attention and 0.5 of what is added; the initial weights are too.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))  # W_Q, W_K, W_V
        self.output, self.norm = nn.Linear(dim, dim), nn.LayerNorm(dim)  # W_FC
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_normal_(layer.weight)
        self.attention_dropout, self.dropout = nn.Dropout(0.1), nn.Dropout(0.5)

    def forward(self, items: Tensor, apart: Tensor | None = None) -> Tensor:
        """Adapt items (B, N, D) to each other; pairs (B, N, N) that are `apart` do not see each other."""
        scores = self.query(items) @ self.key(items).mT / math.sqrt(items.shape[-1])  # equation 5
        if apart is not None:
            scores = scores.masked_fill(apart, -torch.inf)
        mixed = self.attention_dropout(scores.softmax(-1)) @ self.value(items)
        adapted: Tensor = self.norm(items + self.dropout(self.output(mixed)))  # equation 6
        return adapted
