"""Support from one split, queries from another of the same classes: all of its images, for every draw of support."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, PairedSplit, Param, ProtocolSpec, UsageError, choose
from metabench_protocols._draw import SHOT, at_least, fewer_shots, labels, need_classes, rows_of

SPEC = ProtocolSpec(
    name="support-split",
    version=1,
    target="metabench_protocols.support_split:SupportSplit",
    summary="K shots of each class from train, all images of the same classes in test as queries, for many draws of K",
    reference="this project; the usual few-label evaluation of a fixed train and test set",
    licence="MIT",
    params=(
        Param("way", 0, "classes in an episode; 0: all"),
        Param("shot", SHOT.default, "support images of each class, of the split train"),
    ),
    training="fixed-way",
    support="train",
)


class SupportSplit:
    """Draws `shot` images of each class from the one split; the queries are all images of these classes in the other.

    Args:
        way: classes in an episode; 0: all that there are.
        shot: support images of each class, at least 1.

    Attributes:
        n_query: the most queries that an episode can have; known when `check` has seen the split.
    """

    def __init__(self, way: int, shot: int) -> None:
        at_least(("way", way, 0), ("shot", shot, 1))
        if way == 1:
            raise UsageError("way must be at least 2, or 0 for all classes, not 1")
        self.way, self.shot, self.n_query = way, shot, 0

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or too few images for support in one of them."""
        if not isinstance(split, PairedSplit):
            raise UsageError(
                "cannot draw support-split episodes: the split has no support part. Pass a metabench.api.PairedSplit."
            )
        need_classes(split, self.way or 2)
        counts = np.diff(split.support_starts)
        smallest = int(np.argmin(counts))
        if counts[smallest] < self.shot:
            raise UsageError(
                f"{self.shot} shots are more than the {counts[smallest]} images that class '{split.names[smallest]}' "
                f"has for support; {fewer_shots(int(counts[smallest]))}"
            )
        self.n_query = int(np.sort(split.counts)[-self._classes(split) :].sum())

    def width(self, split: ClassSplit) -> int:
        """Return the number of words: one for each class and each image of support."""
        return self._classes(split) * (1 + self.shot)

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the first of the episodes of (B, width) random words that have one number of queries."""
        assert isinstance(split, PairedSplit)
        way = self._classes(split)
        classes = choose(words[:, :way], len(split.names))
        counts = split.counts[classes]  # (B, way)
        other = np.flatnonzero(counts.sum(1) != counts[0].sum())
        many = int(other[0]) if len(other) else len(words)
        classes, counts = classes[:many], counts[:many]
        support = rows_of(words[:many, way:], classes, split.support_starts)
        # The queries of an episode stand class by class: rows that rise by one from the first of each class.
        sizes = counts.reshape(-1)
        before = np.cumsum(sizes) - sizes
        within = np.arange(sizes.sum()) - np.repeat(before, sizes)
        query = np.repeat(split.starts[classes.reshape(-1)], sizes) + within
        return EpisodeBatch(
            support=support.reshape(many, way * self.shot),
            support_labels=labels(way, self.shot, many),
            query=query.reshape(many, -1),
            query_labels=np.repeat(np.tile(np.arange(way), many), sizes).reshape(many, -1),
            way=way,
        )

    def _classes(self, split: ClassSplit) -> int:
        return self.way or len(split.names)
