"""Matching Networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, squared_distances


class MatchingNet(FeatureHead):
    """A query's class distribution is its attention over the support, summed by class (section 2.1).

    Args:
        feature_dim: D.
        metric: ``cosine`` (equation after 1) or ``euclidean`` (negative squared distance).
        temperature: initial scale of the cosine similarities before the softmax, learned as its logarithm;
            the paper has none, without it cosine similarities in [-1, 1] cannot make a sharp attention.
        fce: full-context embeddings (section 2.1.2 and appendix A).
        steps: processing steps K of the attention LSTM.
    """

    def __init__(
        self,
        feature_dim: int,
        metric: str = "cosine",
        temperature: float = 10.0,
        fce: bool = False,
        steps: int = 5,
    ) -> None:
        super().__init__()
        self.metric = metric
        if metric == "cosine":
            self.log_scale = nn.Parameter(torch.tensor(math.log(temperature)))
        self.context = FullContext(feature_dim, steps) if fce else None

    def logits(self, episode: Episode) -> Tensor:
        """Return log P(y = k | x, S) up to a constant of each query, (B, Q, way)."""
        support, query = episode.support, episode.query
        if self.context is not None:
            support, query = self.context(support, query)
        if self.metric == "cosine":
            similarity = torch.bmm(F.normalize(query, dim=-1), F.normalize(support, dim=-1).transpose(1, 2))
            similarity = similarity * self.log_scale.exp()
        else:
            similarity = -squared_distances(query, support)
        return _log_class_attention(similarity, episode.labels, episode.way)


def _log_class_attention(similarity: Tensor, labels: Tensor, way: int) -> Tensor:
    """Return log sum_i a(x, x_i) [y_i = k] up to a constant: (B, Q, S) similarities to (B, Q, way).

    A logsumexp within each class; taking out each class's own maximum keeps far classes from underflow.
    """
    index = labels[:, None].expand_as(similarity)
    empty = similarity.new_full((*similarity.shape[:2], way), -torch.inf)
    largest = empty.scatter_reduce(2, index, similarity.detach(), "amax")
    shifted = (similarity - largest.gather(2, index)).exp()
    return torch.bmm(shifted, F.one_hot(labels, way).to(shifted.dtype)).log() + largest


class FullContext(nn.Module):
    """Embeds support and query in the context of the whole support set (appendix A.1 and A.2)."""

    def __init__(self, feature_dim: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.support_lstm = nn.LSTM(feature_dim, feature_dim, batch_first=True, bidirectional=True)
        self.query_cell = nn.LSTMCell(feature_dim, 2 * feature_dim)
        self.feature_dim = feature_dim

    def forward(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Map support (B, S, D) and query (B, Q, D) to the same shapes."""
        forward, backward = self.support_lstm(support)[0].chunk(2, dim=-1)
        context = support + forward + backward  # g(x_i, S)
        return context, self._attend(query, context)

    def _attend(self, query: Tensor, context: Tensor) -> Tensor:
        batch, queries, dim = query.shape
        flat = query.reshape(-1, dim)
        # The state is [h^, r], and only h^ is read: the gates of its other half are not computed. What the query says
        # to the gates is the same in each step, and what r says is the attention over what the support items say.
        of_query, of_state, bias = (self._half(part) for part in self._gates())
        of_hidden, of_readout = of_state.chunk(2, dim=1)
        constant = F.linear(flat, of_query, bias)
        said = F.linear(context, of_readout)
        hidden, cell = flat, torch.zeros_like(flat)
        gates = constant + F.linear(hidden, of_hidden)
        for step in range(self.steps):
            enter, forget, candidate, leave = gates.chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = leave.sigmoid() * cell.tanh() + flat  # h_k = h^_k + f'(x)
            if step < self.steps - 1:
                attention = torch.bmm(hidden.view(batch, queries, dim), context.transpose(1, 2)).softmax(-1)
                # r_k = sum_i a(h_k, g(x_i)) g(x_i)
                gates = constant + F.linear(hidden, of_hidden) + torch.bmm(attention, said).flatten(0, 1)
        return hidden.view(batch, queries, dim)

    def _gates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of the four gates by query (8D, D) and state (8D, 2D), and their bias (8D,)."""
        return self.query_cell.weight_ih, self.query_cell.weight_hh, self.query_cell.bias_ih + self.query_cell.bias_hh

    def _half(self, gates: Tensor) -> Tensor:
        """Return the rows (4D, ...) of the first half of each of four gates (8D, ...)."""
        return gates.view(4, 2, self.feature_dim, *gates.shape[1:])[:, 0].flatten(0, 1)
