"""K-shot regression: one function, `shot` of its points to learn from and `query` others to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, Metric, Param, ProtocolSpec, UsageError, choose, integers_below

if TYPE_CHECKING:
    from torch import Tensor

SPEC = ProtocolSpec(
    name="regression",
    version=1,
    target="metabench_protocols.regression:Regression",
    summary="K-shot regression: points of one function, scored by the mean squared error",
    reference="Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation, section 5.1",
    licence="MIT",
    takes=("functions",),
    metric=Metric("mse", higher_is_better=False, digits=3),
    params=(
        Param("shot", 5, "points to learn from"),
        Param("query", 15, "points to predict"),
    ),
)


class Regression:
    """Draws a function, then `shot + query` distinct points of it; the first `shot` are the support.

    Args:
        shot: at least 1. query: at least 1.
    """

    def __init__(self, shot: int, query: int) -> None:
        for name, value in (("shot", shot), ("query", query)):
            if value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        self.shot, self.n_query = shot, query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if a function has too few points."""
        least = int(split.counts.min())
        if self.shot + self.n_query > least:
            raise UsageError(
                f"{self.shot} shot + {self.n_query} query points are more than the {least} of a function; "
                "use fewer --shots or a smaller --query"
            )

    def width(self, split: ClassSplit) -> int:
        """Return the number of words: one for the function and for each point."""
        return 1 + self.shot + self.n_query

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words."""
        functions = integers_below(words[:, 0], len(split.names))
        within = np.empty((len(words), self.shot + self.n_query), dtype=np.int64)
        counts = split.counts[functions]
        for count in np.unique(counts):
            mine = counts == count
            within[mine] = choose(words[mine, 1:], int(count))
        rows = split.starts[functions][:, None] + within
        labels = np.zeros_like(rows)
        return EpisodeBatch(
            rows[:, : self.shot], labels[:, : self.shot], rows[:, self.shot :], labels[:, self.shot :], 1
        )

    def values(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the mean squared error (B,) of predictions (B, Q, D)."""
        return (outputs - truth).square().flatten(1).mean(1)
