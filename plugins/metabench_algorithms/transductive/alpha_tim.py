"""alpha-TIM: information measured by alpha-entropies (Veilleux, Boudiaf, Piantanida and Ben Ayed 2021)."""

from __future__ import annotations

from torch import Tensor

from metabench.api import UsageError
from metabench_algorithms.transductive.tim import TIM

_LEAST = 1e-12
"""Added to probabilities before their power is taken, as in the authors' tim.py."""


class AlphaTIM(TIM):
    """TIM by gradients with entropies (1 - sum_k p_k^alpha) / (alpha - 1), which forgive uneven queries (section 4).

    The cross-entropy of the support is Shannon's, as in alpha_tim.yaml of the authors' code.

    Args:
        feature_dim: D.
        alpha: of the entropies; 0: that of the authors, 2 at 1 shot, 7 from 5 shots on and 5 between.
        steps: of Adam; 0: 1000.
        rate, temperature, cross_entropy, marginal, conditional: see `TIM`.

    Raises:
        UsageError: a parameter out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        alpha: float = 0.0,
        steps: int = 0,
        rate: float = 1e-4,
        temperature: float = 15.0,
        cross_entropy: float = 1.0,
        marginal: float = 1.0,
        conditional: float = 1.0,
    ) -> None:
        super().__init__(feature_dim, "gd", steps, rate, temperature, cross_entropy, marginal, conditional)
        if alpha < 0:
            raise UsageError(f"algo.alpha must be at least 0, not {alpha}")
        if alpha == 1:
            raise UsageError("algo.alpha must not be 1, which is Shannon's entropy. Use tim with form=gd")
        self.alpha = alpha

    def _slope(self, log_p: Tensor, shots: float) -> Tensor:
        """Return the same derivative as `TIM`, of alpha-entropies."""
        alpha = self.alpha or (2.0 if shots < 2 else 5.0 if shots < 5 else 7.0)
        p = log_p.exp() + _LEAST
        marginal = p.mean(-1, keepdim=True) ** (alpha - 1)
        return alpha / (alpha - 1) * (self.marginal * marginal - self.conditional * p ** (alpha - 1))
