"""The mean of the support: the floor of tables of regression."""

from __future__ import annotations

from torch import Tensor

from metabench.api import Backbone, TaskAdaptiveAlgorithm, Weights


class SupportMean(TaskAdaptiveAlgorithm):
    """Predicts for every query the mean of the numbers that it was shown, whatever the query is.

    Its network has no say. What learns nothing of the shape of functions from their points does no better than this by
    much, and what is above it did not learn.
    """

    def __init__(self, backbone: Backbone, way: int) -> None:
        super().__init__(backbone, way, bn="running")

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Return the mean (way,) of numbers (S, way)."""
        return {"mean": labels.mean(0)}

    def predict(self, params: Weights, support: Tensor, labels: Tensor, query: Tensor, step: int = -1) -> Tensor:
        """Return it once for each query, (Q, way)."""
        return params["mean"].expand(len(query), -1)
