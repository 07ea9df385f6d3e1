"""Episodes whose classes are all of one super-category: an alphabet, a genus, a coarse label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, ProtocolSpec, UsageError, integers_below
from metabench_protocols._draw import (
    QUERY,
    SHOT,
    WAY,
    Words,
    choose_within,
    images_of,
    need_images,
)
from metabench_protocols.fixed_way import FixedWay

SPEC = ProtocolSpec(
    name="within-superclass",
    version=2,
    target="metabench_protocols.within_superclass:WithinSuperclass",
    summary="N-way K-shot episodes with all classes from one super-category, drawn uniformly: fine distinctions",
    reference="Lake et al. 2015, Human-level concept learning (within-alphabet classification)",
    licence="MIT",
    params=(WAY, SHOT, QUERY),
    training="fixed-way",
)


class WithinSuperclass:
    """Draws a super-category that has `way` classes, then that many of them, then images as `fixed-way`.

    Super-categories are those that the dataset names (`ClassSplit.groups`); one with too few classes is never drawn.
    The open interval is for other super-categories: classes of one are no independent sample.
    There is no `arrange`: classes that meet by their super-category cannot be dealt out for open sampling.
    """

    def __init__(self, way: int, shot: int, query: int) -> None:
        self.form = FixedWay(way, shot, query)
        self.n_query = self.form.n_query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if no super-category has enough classes, or a class of one too few images."""
        groups = group_members(split)
        way = self.form.way
        large = [members for members in groups.values() if len(members) >= way]
        if not large:
            name, members = max(groups.items(), key=lambda item: len(item[1]))
            raise UsageError(
                f"{way}-way needs a super-category of {way} classes and the largest, '{name}', has {len(members)}; "
                + (
                    f"use --ways {len(members)} or fewer"
                    if len(members) >= 2
                    else "use data with larger super-categories"
                )
            )
        need_images(split, self.form.shot, self.form.query, np.concatenate(large).tolist())

    def groups(self, split: ClassSplit) -> NDArray[np.int64]:
        """Return the super-category (C,) of each class, by number."""
        numbers = {name: number for number, name in enumerate(group_members(split))}
        return np.asarray([numbers[name] for name in split.groups])

    def width(self, split: ClassSplit) -> int:
        """Return one word more than `fixed-way`, for the super-category."""
        return 1 + self.form.width(split)

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words, classes in random order."""
        way = self.form.way
        groups = [members for members in group_members(split).values() if len(members) >= way]
        classes = classes_of_groups(words[:, 0], words[:, 1 : 1 + way], groups)
        return self.form.arrange(images_of(words[:, 1 + way :], classes, split))


def group_members(split: ClassSplit) -> dict[str, NDArray[np.int64]]:
    """Return the classes of each super-category, in the order of their first classes.

    Raises:
        UsageError: the dataset names none.
    """
    if not split.groups:
        raise UsageError(
            "the dataset does not say which super-category its classes belong to (ClassSplit.groups); use another "
            "--protocol, or a dataset with alphabets or coarse labels such as omniglot"
        )
    members: dict[str, list[int]] = {}
    for label, group in enumerate(split.groups):
        members.setdefault(group, []).append(label)
    return {group: np.asarray(classes, dtype=np.int64) for group, classes in members.items()}


def classes_of_groups(group_words: Words, class_words: Words, groups: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return classes (B, k) of one of the groups each, by words (B,) and (B, k); -1 where the group has no more."""
    sizes = np.asarray([len(members) for members in groups])
    table = np.zeros((len(groups), int(sizes.max())), dtype=np.int64)
    for row, members in zip(table, groups, strict=True):
        row[: len(members)] = members
    which = integers_below(group_words, len(groups))
    within = choose_within(class_words, sizes[which])
    return np.where(within < 0, -1, table[which[:, None], np.maximum(within, 0)])
