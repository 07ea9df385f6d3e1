"""Generalised few-shot episodes: novel classes of K shots and the classes of training, classified jointly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    ClassSplit,
    EpisodeBatch,
    JointSplit,
    Metric,
    Param,
    ProtocolSpec,
    RowIndices,
    UsageError,
    choose,
)
from metabench_protocols._draw import QUERY, SHOT, WAY, Words, at_least, labels, rows_of
from metabench_protocols.fixed_way import FixedWay

if TYPE_CHECKING:
    from torch import Tensor

SPEC = ProtocolSpec(
    name="generalised",
    version=1,
    target="metabench_protocols.generalised:Generalised",
    summary="novel classes of K shots and those of training, told apart jointly: harmonic mean of their accuracies",
    reference="Gidaris & Komodakis 2018, section 4; Ren et al. 2019, section 4; Xian et al. 2018 (harmonic mean)",
    licence="MIT",
    params=(
        Param("way", WAY.default, "novel classes in an episode"),
        Param("shot", SHOT.default, "support images of each novel class"),
        Param("query", QUERY.default, "query images of each novel class; base classes have way x query in all"),
        Param("base", 0, "base classes in an episode, drawn anew for each; 0: all"),
        Param("base_shot", 20, "support images of each base class; fewer where the smallest has not so many left"),
        Param("reserve", 0.2, "share of the images of each base class that training never sees: its queries"),
    ),
    training="fixed-way",
    metric=Metric("harmonic", "%"),
    parts=(Metric("novel", "%"), Metric("base", "%"), Metric("delta", "%")),
    beside="train",
)


class Generalised:
    """Draws `way` novel classes with images as `fixed-way`, and base classes with as many queries in all.

    The support of base classes are images of training, their queries come from the reserve. They are spread over the
    classes as evenly as their number allows. Labels from `way` on are of base classes, in the order of the dataset.

    Args:
        way, shot, query: of the novel classes, see `FixedWay`.
        base: base classes in an episode; 0: all that there are.
        base_shot: support images of each of them, at least 1.
        reserve: share of the images of a base class; the harness keeps them from training.
    """

    def __init__(self, way: int, shot: int, query: int, base: int, base_shot: int, reserve: float) -> None:
        self.form = FixedWay(way, shot, query)
        at_least(("base", base, 0), ("base_shot", base_shot, 1))
        if not 0 < reserve < 1:
            raise UsageError(f"reserve must be a share between 0 and 1, not {reserve:g}")
        self.way, self.base, self.base_shot = way, base, base_shot
        self.n_query = 2 * self.form.n_query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or too few images in one of them."""
        self.form.check(split)
        if not isinstance(split, JointSplit):
            raise UsageError(
                "cannot draw generalised episodes: the split has no base classes. Pass a metabench.api.JointSplit."
            )
        classes, asked = len(split.base_names), self._asked(split)
        if self.base > classes:
            raise UsageError(f"{self.base} base classes are more than there are; use --set protocol.base={classes}")
        counts = np.diff(split.reserve_starts)
        smallest = int(np.argmin(counts))
        if counts[smallest] < asked[1]:
            raise UsageError(
                f"{self.form.n_query} queries of {asked[0]} base classes need {asked[1]} reserved images of each, and "
                f"'{split.base_names[smallest]}' has {counts[smallest]}; use a larger --set protocol.reserve or a "
                "smaller --query"
            )

    def _classes(self, split: JointSplit) -> int:
        """Return the number of base classes in an episode."""
        return self.base or len(split.base_names)

    def _asked(self, split: JointSplit) -> tuple[int, int]:
        """Return how many base classes have queries, and how many queries each of them has at most."""
        classes = min(self._classes(split), self.form.n_query)
        return classes, -(-self.form.n_query // classes)

    def _shots(self, split: JointSplit) -> int:
        return min(self.base_shot, int(np.diff(split.base_starts).min()))

    def width(self, split: ClassSplit) -> int:
        """Return the words for the novel classes and their images, each base class and its support, and the queries."""
        assert isinstance(split, JointSplit)
        asked, per_class = self._asked(split)
        return self.form.width(split) + self._classes(split) * (1 + self._shots(split)) + asked * per_class

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words; novel classes come first, in support and query."""
        assert isinstance(split, JointSplit)
        classes, shots = self._classes(split), self._shots(split)
        bounds = np.cumsum([self.form.width(split), classes, classes * shots])
        novel_words, class_words, support_words, query_words = np.split(words, bounds, axis=1)
        novel = self.form.draw(novel_words, split)
        drawn = choose(class_words, len(split.base_names))
        base, shuffled = np.sort(drawn, axis=1), np.argsort(np.argsort(drawn, axis=1), axis=1)
        query, query_labels = self._queries(query_words, drawn, shuffled, split)
        return EpisodeBatch(
            support=np.hstack([novel.support, _flat(rows_of(support_words, base, split.base_starts))]),
            support_labels=np.hstack([novel.support_labels, self.way + labels(classes, shots, len(words))]),
            query=np.hstack([novel.query, query]),
            query_labels=np.hstack([novel.query_labels, self.way + query_labels]),
            way=self.way + classes,
        )

    def _queries(
        self, words: Words, drawn: RowIndices, places: RowIndices, split: JointSplit
    ) -> tuple[RowIndices, RowIndices]:
        """Return rows and labels (B, Q) of base queries: one of each class in the order they were drawn in, and again.

        Args:
            drawn: base classes (B, classes) in random order.
            places: where each of them stands among the sorted ones.
        """
        asked, per_class = self._asked(split)
        rows = rows_of(words, drawn[:, :asked], split.reserve_starts)  # (B, asked, each)
        total = self.form.n_query
        return _flat(rows.transpose(0, 2, 1))[:, :total], np.tile(places[:, :asked], per_class)[:, :total]

    def values(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return harmonic mean, accuracy of novel and of base queries, and delta (B, 4), in percent.

        The accuracies a and b are among all classes, novel and base; H = 2ab / (a + b) (Xian et al. 2018).
        Delta (Ren et al. 2019, section 4) is how much they lose against a choice among the classes of their own kind,
        ``((a - a') + (b - b')) / 2``. A query that ties counts as its chance to be right.

        Args:
            outputs: scores (B, Q, way + base classes), the first half of the queries novel.
            truth: labels (B, Q).
        """
        import torch

        half, way = outputs.shape[1] // 2, self.way
        novel, base = outputs[:, :half], outputs[:, half:]
        a, b = _accuracy(novel, truth[:, :half]), _accuracy(base, truth[:, half:])
        alone = _accuracy(novel[..., :way], truth[:, :half]), _accuracy(base[..., way:], truth[:, half:] - way)
        harmonic = 2 * a * b / (a + b).clamp_min(1e-300)
        return 100 * torch.stack([harmonic, a, b, (a - alone[0] + b - alone[1]) / 2], 1)


def _flat(rows: RowIndices) -> RowIndices:
    return rows.reshape(len(rows), -1)


def _accuracy(outputs: Tensor, truth: Tensor) -> Tensor:
    """Return the share (B,) of right answers by scores (B, Q, classes); a tie of n classes counts 1 / n."""
    tied = outputs == outputs.amax(-1, keepdim=True)
    right = tied.gather(-1, truth[..., None]).squeeze(-1)
    return (right.double() / tied.sum(-1)).mean(1)
