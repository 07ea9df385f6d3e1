"""Episodes of varying way and shot, composed as those of Meta-Dataset."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    ClassSplit,
    EpisodeBatch,
    Param,
    ProtocolSpec,
    UsageError,
    choose,
    integers_below,
    pluralise,
    unit_floats,
)
from metabench_protocols._draw import Words, at_least, images_of
from metabench_protocols.within_superclass import classes_of_groups, group_members

Ints = NDArray[np.int64]

SPEC = ProtocolSpec(
    name="meta-dataset",
    version=1,
    target="metabench_protocols.meta_dataset:MetaDataset",
    summary="way, shots and queries drawn anew for every episode; shots differ between classes",
    reference="Triantafillou et al. 2020, Meta-Dataset, section 3.2 and appendix A; gin files of the authors' code",
    licence="MIT",
    params=(
        Param("min_way", 5, "fewest classes in an episode"),
        Param("max_way", 50, "most classes in an episode"),
        Param("max_query", 10, "most queries of a class; never more than half of the smallest class of the episode"),
        Param("max_support", 500, "most support images in an episode"),
        Param("max_support_per_class", 100, "most that one class counts for where the size of the support is drawn"),
        Param("min_log_weight", math.log(0.5), "the logarithm of a class's weight is uniform from this"),
        Param("max_log_weight", math.log(2.0), "... to this: how uneven shots are beyond the sizes of the classes"),
        Param("within_superclass", False, "take all classes of an episode from one super-category, as on Omniglot"),
    ),
    training="fixed-way",
)


@dataclass(frozen=True)
class MetaDataset:
    """Draws way, classes, size of the support set and the shots of each class, then images.

    ======== ==========================================================================================
    way      uniform from `min_way` to the smaller of `max_way` and the number of classes
    queries  of each class q: the smaller of `max_query` and half of the smallest class
    support  sum over classes of floor(beta min(`max_support_per_class`, n_c - q)) + 1, at most `max_support`;
             beta uniform in [0, 1)
    shots    1 + floor(r_c (support - way)), at most n_c - q; r_c proportional to n_c exp(uniform log weight)
    ======== ==========================================================================================

    with n_c the number of images of class c. Shapes vary, so `draw` makes one episode at a time. The sampler for
    ImageNet, which takes related classes by WordNet, is not here: no dataset declares such a tree.
    """

    min_way: int
    max_way: int
    max_query: int
    max_support: int
    max_support_per_class: int
    min_log_weight: float
    max_log_weight: float
    within_superclass: bool

    def __post_init__(self) -> None:
        at_least(
            ("min_way", self.min_way, 2), ("max_way", self.max_way, self.min_way), ("max_query", self.max_query, 1)
        )
        at_least(("max_support_per_class", self.max_support_per_class, 1))
        at_least(("max_support", self.max_support, self.max_way))
        if not -20 <= self.min_log_weight <= self.max_log_weight <= 20:
            raise UsageError(
                f"log weights must lie between -20 and 20, the least first, not {self.min_log_weight} and "
                f"{self.max_log_weight}"
            )

    @property
    def n_query(self) -> int:
        """The most queries that an episode can have."""
        return self.max_way * self.max_query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or one with less than two images."""
        where = {"the split": np.arange(len(split.names))} if not self.within_superclass else group_members(split)
        for name, members in where.items():
            if len(members) < self.min_way:
                most = len(members)
                remedy = f"use --set protocol.min_way={most}" if most >= 2 else "use data with more classes"
                raise UsageError(
                    f"episodes of {self.min_way} classes and more cannot be drawn from {name}, which has {most}; "
                    f"{remedy}"
                )
        smallest = int(np.argmin(split.counts))
        if split.counts[smallest] < 2:
            images = pluralise(int(split.counts[smallest]), "image")
            raise UsageError(f"class '{split.names[smallest]}' has {images}, and two are needed")

    def width(self, split: ClassSplit) -> int:
        """Words for way, super-category, size of the support; for each class and its weight; for each image."""
        return 3 + 2 * self.max_way + self.max_support + self.n_query

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the one episode of the first row of (B, width) random words, classes in random order."""
        bounds = np.cumsum([1, 1, 1, self.max_way, self.max_way])
        way_word, group_word, beta_word, class_words, weight_words, image_words = np.split(words[0], bounds)
        classes = self._classes(way_word, group_word, class_words, split)
        shots, query = self._composition(beta_word, weight_words[: len(classes)], split.counts[classes])
        return _episode(classes, shots, query, image_words, split)

    def _classes(self, way_word: Words, group_word: Words, class_words: Words, split: ClassSplit) -> Ints:
        """Return the classes (way,) of an episode, of one word each for way and super-category."""
        if self.within_superclass:
            groups = list(group_members(split).values())
            chosen = classes_of_groups(group_word, class_words[None], groups)[0]
            chosen = chosen[chosen >= 0]
        else:
            chosen = choose(class_words[None, : len(split.names)], len(split.names))[0]
        most = len(chosen)  # the smaller of `max_way` and what there is
        way = self.min_way + int(integers_below(way_word, most - self.min_way + 1)[0])
        classes: Ints = chosen[:way]
        return classes

    def _composition(self, beta_word: Words, weight_words: Words, images: Ints) -> tuple[Ints, int]:
        """Return the shots (way,) and the queries of each class, of classes with so many images (way,)."""
        query = int(min(self.max_query, images.min() // 2))
        left = images - query
        beta = unit_floats(beta_word)[0]
        pluralise = np.minimum(self.max_support_per_class, left)
        support = min(self.max_support, int(np.floor(beta * pluralise + 1).sum()))
        low, high = self.min_log_weight, self.max_log_weight
        weights = images * np.exp(low + (high - low) * unit_floats(weight_words))
        shots = 1 + np.floor(weights / weights.sum() * (support - len(images))).astype(np.int64)
        return np.minimum(shots, left), query


def _episode(classes: Ints, shots: Ints, query: int, words: Words, split: ClassSplit) -> EpisodeBatch:
    """Draw ``shots[c] + query`` images of each class c, each with a word of its own."""
    support, queries, used = [], [], 0
    for label, shot in zip(classes, shots, strict=True):
        rows = images_of(words[None, used : used + shot + query], np.full((1, 1), label), split)[0, 0]
        used += int(shot) + query
        support.append(rows[:shot])
        queries.append(rows[shot:])
    way = len(classes)
    return EpisodeBatch(
        support=np.concatenate(support)[None],
        support_labels=np.repeat(np.arange(way), shots)[None],
        query=np.concatenate(queries)[None],
        query_labels=np.repeat(np.arange(way), query)[None],
        way=way,
    )
