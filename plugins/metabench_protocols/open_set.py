"""Open-set episodes: half of the queries are of classes that the support set does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, Metric, Param, ProtocolSpec, choose, pluralise
from metabench_protocols._draw import QUERY, SHOT, WAY, at_least, images_of, labels, need_classes, need_images

if TYPE_CHECKING:
    from torch import Tensor

SPEC = ProtocolSpec(
    name="open-set",
    version=1,
    target="metabench_protocols.open_set:OpenSet",
    summary="N-way K-shot episodes with queries of unknown classes too: AUROC of telling them by the largest score",
    reference="Liu et al. 2020, Few-Shot Open-Set Recognition Using Meta-Learning, section 5",
    licence="MIT",
    params=(
        WAY,
        SHOT,
        Param("query", QUERY.default, "query images of each class, known or unknown"),
        Param("unknown", 5, "classes of queries that the support set does not have"),
    ),
    training="fixed-way",
    metric=Metric("auroc", "%"),
)


class OpenSet:
    """Draws ``way + unknown`` classes; the last `unknown` have queries and no support, and the label -1.

    Args:
        way: classes of the support set, at least 2.
        shot: support images of each of them, at least 1.
        query: query images of each class, known or unknown, at least 1.
        unknown: classes of queries alone, at least 1.
    """

    def __init__(self, way: int, shot: int, query: int, unknown: int) -> None:
        at_least(("way", way, 2), ("shot", shot, 1), ("query", query, 1), ("unknown", unknown, 1))
        self.way, self.shot, self.query, self.unknown = way, shot, query, unknown
        self.n_query = (way + unknown) * query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or too few images in one of them."""
        what = f"{self.way}-way with {pluralise(self.unknown, 'unknown class')}"
        need_classes(split, self.way, self.unknown, what)
        need_images(split, self.shot, self.query)

    def width(self, split: ClassSplit) -> int:
        """Return the number of words: one for each class, and for `shot` and `query` images of each."""
        return (self.way + self.unknown) * (1 + self.shot + self.query)

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words; queries of unknown classes come last."""
        episodes, total = len(words), self.way + self.unknown
        classes = choose(words[:, :total], len(split.names))
        rows = images_of(words[:, total:], classes, split)
        truth = labels(total, self.query, episodes)
        return EpisodeBatch(
            support=rows[:, : self.way, : self.shot].reshape(episodes, -1),
            support_labels=labels(self.way, self.shot, episodes),
            query=rows[:, :, self.shot :].reshape(episodes, -1),
            query_labels=np.where(truth < self.way, truth, -1),
            way=self.way,
        )

    def values(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the area under the ROC curve (B,), in percent, of known against unknown by the largest score.

        It is the chance that a query of a known class has a larger one than a query of an unknown class, a tie counting
        half (Mann-Whitney's U over its maximum).

        Args:
            outputs: scores (B, Q, way).
            truth: labels (B, Q), -1 for unknown classes, as many in each episode.
        """
        largest, known = outputs.amax(-1), truth >= 0
        inside = largest[known].view(len(largest), -1, 1)
        outside = largest[~known].view(len(largest), 1, -1)
        wins = (inside > outside).double() + 0.5 * (inside == outside).double()
        return 100 * wins.mean((1, 2))
