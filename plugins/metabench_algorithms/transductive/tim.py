"""TIM, transductive information maximisation (Boudiaf et al. 2020), and alpha-TIM (Veilleux et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import Episode, FeatureHead, UsageError

_STEPS = {"gd": 1000, "adm": 150}
"""Of tim.iter in the authors' scripts and in tim.py."""


class TIM(FeatureHead):
    """Class weights that tell the support apart and inform most about the queries: min l CE - (H(Y) - a H(Y|X)).

    p_ik is the softmax over classes of -t/2 |f_i - w_k|^2, of features of length 1 (equation 1); the weights begin as
    class means. A query alone, of which labels and queries share no information, changes none.

    Args:
        feature_dim: D.
        form: ``gd``, Adam on the loss (section 3.3), or ``adm``, alternating steps in closed form (section 3.4).
        steps: of either; 0: those of the authors, 1000 and 150.
        rate: of Adam.
        temperature: t.
        cross_entropy: l, weight of the cross-entropy of the support.
        marginal: weight of the entropy H(Y) of the mean prediction: the larger, the more even the classes.
        conditional: a, weight of the mean entropy H(Y|X) of predictions.

    Raises:
        UsageError: a parameter out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        form: str = "adm",
        steps: int = 0,
        rate: float = 1e-4,
        temperature: float = 15.0,
        cross_entropy: float = 0.1,
        marginal: float = 1.0,
        conditional: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("rate", rate), ("temperature", temperature), ("cross_entropy", cross_entropy)):
            if value <= 0:
                raise UsageError(f"algo.{name} must be above 0, not {value}")
        for name, value in (("steps", steps), ("marginal", marginal), ("conditional", conditional)):
            if value < 0:
                raise UsageError(f"algo.{name} must be at least 0, not {value}")
        self.form, self.steps, self.rate, self.temperature = form, steps or _STEPS[form], rate, temperature
        self.cross_entropy, self.marginal, self.conditional = cross_entropy, marginal, conditional

    def logits(self, episode: Episode) -> Tensor:
        """Return -t/2 |f - w_k|^2 but for |f|^2 of each query, (B, Q, way)."""
        support, query = (F.normalize(part, dim=-1) for part in (episode.support, episode.query))
        labels = F.one_hot(episode.labels, episode.way).mT.to(support)
        if self.form == "adm":
            return self._alternate(support, labels, query).mT
        return self._descend(support, labels, query).mT

    def _scores(self, inner: Tensor, lengths: Tensor) -> Tensor:
        """Return t (w_k f - |w_k|^2 / 2) from w_k f (B, way, N) and |w_k|^2 (B, way, 1)."""
        return self.temperature * (inner - lengths / 2)

    def _descend(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Return the scores (B, way, Q) after steps of Adam."""
        weights = labels @ support / labels.sum(-1, keepdim=True)
        shots, adam = support.shape[1], torch.optim.Adam([weights], self.rate)
        for _ in range(self.steps if query.shape[1] > 1 else 0):
            lengths = weights.square().sum(-1, keepdim=True)
            log_p = self._scores(weights @ query.mT, lengths).log_softmax(1)
            p, slope = log_p.exp(), self._slope(log_p, shots / labels.shape[1])
            of_query = p * (slope - (p * slope).sum(1, keepdim=True)) / query.shape[1]
            of_support = self._scores(weights @ support.mT, lengths).softmax(1) - labels
            of_support = self.cross_entropy / shots * of_support
            pull = of_query.sum(-1, keepdim=True) + of_support.sum(-1, keepdim=True)
            gradient = of_query @ query + of_support @ support - pull * weights
            weights.grad = self.temperature * gradient
            adam.step()
        return self._scores(weights @ query.mT, weights.square().sum(-1, keepdim=True))

    def _slope(self, log_p: Tensor, shots: float) -> Tensor:
        """Return Q times the derivative of -(H(Y) - a H(Y|X)) by p (B, way, Q), but for what classes share.

        Args:
            log_p: logarithm of p.
            shots: support items of a class.
        """
        marginal = log_p.logsumexp(-1, keepdim=True)
        return self.marginal * marginal - self.conditional * log_p

    def _alternate(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Return the scores (B, way, Q) after alternating updates of q and w (propositions 1 and 2).

        Weights are sums of items with coefficients (B, way, N); all that is asked of them is inner products.
        """
        shots, queries = labels.shape[-1], query.shape[1]
        items = torch.cat([support, query], 1)
        products = items @ items.mT
        share = labels.new_full((shots + queries,), shots / queries)
        share[:shots] = self.cross_entropy / (1 + self.conditional)
        weights = F.pad(labels / labels.sum(-1, keepdim=True), (0, queries))
        for step in range(self.steps + 1):
            inner = weights @ products
            scores = self._scores(inner, (inner * weights).sum(-1, keepdim=True))
            if step == self.steps or queries == 1:
                break
            log_p = scores.log_softmax(1)
            sharper = (1 + self.conditional) * log_p[..., shots:]
            even = self.marginal / (1 + self.marginal) * sharper.logsumexp(-1, keepdim=True)
            wanted = share * torch.cat([labels, (sharper - even).softmax(1)], -1)
            given = share * log_p.exp()
            weights = wanted - given + given.sum(-1, keepdim=True) * weights
            weights = weights / wanted.sum(-1, keepdim=True)
        return scores[..., shots:]
