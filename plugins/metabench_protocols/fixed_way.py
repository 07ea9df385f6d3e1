"""The standard N-way K-shot protocol: `way` distinct classes, `shot` support and `query` query images of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, Param, ProtocolSpec, UsageError
from metabench.episodes import EpisodeBatch
from metabench.rng import choose

SPEC = ProtocolSpec(
    name="fixed-way",
    version=1,
    target="metabench_protocols.fixed_way:FixedWay",
    summary="N-way K-shot episodes: classes and images uniform without replacement within an episode",
    reference="Vinyals et al. 2016, Matching Networks for One Shot Learning, section 4",
    licence="MIT",
    params=(
        Param("way", 5, "classes in an episode"),
        Param("shot", 1, "support images of each class"),
        Param("query", 15, "query images of each class"),
    ),
)


class FixedWay:
    """Draws classes, then for each class `shot + query` distinct images; the first `shot` are the support.

    Args:
        way: classes in an episode, at least 2.
        shot: support images of each class, at least 1.
        query: query images of each class, at least 1.
    """

    def __init__(self, way: int, shot: int, query: int) -> None:
        for name, value, least in (("way", way, 2), ("shot", shot, 1), ("query", query, 1)):
            if value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
        self.way, self.shot, self.query = way, shot, query
        self.n_query = way * query
        self.per_class = shot + query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or too few images in one of them."""
        classes = len(split.names)
        if self.way > classes:
            raise UsageError(f"{self.way}-way needs {self.way} classes but the split has {classes}; use --ways")
        smallest = int(np.argmin(split.counts))
        images = int(split.counts[smallest])
        if self.shot + self.query > images:
            largest = images - self.shot
            remedy = f"the largest legal --query is {largest}" if largest > 0 else "use fewer --shots"
            raise UsageError(
                f"{self.shot} shot + {self.query} query images are more than the {images} of class "
                f"'{split.names[smallest]}'; {remedy}"
            )

    def width(self, split: ClassSplit) -> int:
        """One word for each class and each image."""
        return self.way * (1 + self.shot + self.query)

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words, classes in random order."""
        episodes = len(words)
        classes = choose(words[:, : self.way], len(split.names))
        image_words = words[:, self.way :].reshape(-1, self.per_class)
        within = _choose_images(image_words, split.counts[classes.reshape(-1)])
        return self.arrange(split.starts[classes][:, :, None] + within.reshape(episodes, self.way, self.per_class))

    def arrange(self, rows: NDArray[np.int64]) -> EpisodeBatch:
        """Make image rows (B, way, per_class) into B episodes: the first `shot` of each class are its support."""
        episodes, labels = len(rows), np.arange(self.way)[:, None]
        return EpisodeBatch(
            support=rows[:, :, : self.shot].reshape(episodes, self.way * self.shot),
            support_labels=_labels(labels, self.shot, episodes),
            query=rows[:, :, self.shot :].reshape(episodes, self.n_query),
            query_labels=_labels(labels, self.query, episodes),
            way=self.way,
        )


def _labels(labels: NDArray[np.int64], repeat: int, episodes: int) -> NDArray[np.int64]:
    return np.tile(np.repeat(labels, repeat, axis=1).reshape(1, -1), (episodes, 1))


def _choose_images(words: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose within each row's own population; rows are grouped by size, mostly one group."""
    sizes = np.unique(counts)
    if len(sizes) == 1:
        return choose(words, int(sizes[0]))
    chosen = np.empty(words.shape, dtype=np.int64)
    for size in sizes:
        mask = counts == size
        chosen[mask] = choose(words[mask], int(size))
    return chosen
