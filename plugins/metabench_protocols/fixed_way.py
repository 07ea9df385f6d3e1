"""The standard N-way K-shot protocol: `way` distinct classes, `shot` support and `query` query images of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, ProtocolSpec, choose
from metabench_protocols._draw import QUERY, SHOT, WAY, at_least, images_of, labels, need_classes, need_images

SPEC = ProtocolSpec(
    name="fixed-way",
    version=1,
    target="metabench_protocols.fixed_way:FixedWay",
    summary="N-way K-shot episodes: classes and images uniform without replacement within an episode",
    reference="Vinyals et al. 2016, Matching Networks for One Shot Learning, section 4",
    licence="MIT",
    params=(WAY, SHOT, QUERY),
)


class FixedWay:
    """Draws classes, then for each class `shot + query` distinct images; the first `shot` are the support.

    Args:
        way: classes in an episode, at least 2.
        shot: support images of each class, at least 1.
        query: query images of each class, at least 1.
    """

    def __init__(self, way: int, shot: int, query: int) -> None:
        at_least(("way", way, 2), ("shot", shot, 1), ("query", query, 1))
        self.way, self.shot, self.query = way, shot, query
        self.n_query = way * query
        self.per_class = shot + query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or too few images in one of them."""
        need_classes(split, self.way)
        need_images(split, self.shot, self.query)

    def width(self, split: ClassSplit) -> int:
        """Return the number of words: one for each class and each image."""
        return self.way * (1 + self.per_class)

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words, classes in random order."""
        classes = choose(words[:, : self.way], len(split.names))
        return self.arrange(images_of(words[:, self.way :], classes, split))

    def arrange(self, rows: NDArray[np.int64]) -> EpisodeBatch:
        """Make image rows (B, way, per_class) into B episodes: the first `shot` of each class are its support."""
        episodes = len(rows)
        return EpisodeBatch(
            support=rows[:, :, : self.shot].reshape(episodes, self.way * self.shot),
            support_labels=labels(self.way, self.shot, episodes),
            query=rows[:, :, self.shot :].reshape(episodes, self.n_query),
            query_labels=labels(self.way, self.query, episodes),
            way=self.way,
        )
