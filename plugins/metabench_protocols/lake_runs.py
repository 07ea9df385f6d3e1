"""Lake's one-shot runs: a list of episodes that the dataset itself lays down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, Param, ProtocolSpec, UsageError, integers_below
from metabench_protocols._draw import labels

WAY, RUNS = 20, 20

SPEC = ProtocolSpec(
    name="lake-runs",
    version=1,
    target="metabench_protocols.lake_runs:LakeRuns",
    summary="the 20 runs of 20-way one-shot trials of Omniglot's authors, each once (dataset omniglot-lake)",
    reference="Lake, Salakhutdinov & Tenenbaum, Science 350 (2015); the authors' python/one-shot-classification",
    licence="MIT",
    params=(
        Param("way", WAY, "classes in a run", (WAY,)),
        Param("shot", 1, "training images of each class", (1,)),
    ),
    episodes=RUNS,
    training="fixed-way",
)


class LakeRuns:
    """Episode i is run i: the training image of each of its 20 classes against the test image of each.

    A run is a group of the split (`ClassSplit.groups`), and a class has two images, the training image first. There is
    no choice in it, so the seed of the episodes has no effect.
    """

    n_query = WAY

    def __init__(self, way: int = WAY, shot: int = 1) -> None:
        if (way, shot) != (WAY, 1):
            raise UsageError(f"a run is {WAY}-way 1-shot, not {way}-way {shot}-shot")

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if the split is not laid out in runs."""
        runs = list(dict.fromkeys(split.groups))
        in_order = [run for run in runs for _ in range(WAY)] == list(split.groups)
        if len(runs) != RUNS or not in_order or not bool((split.counts == 2).all()):
            raise UsageError("the dataset is not laid out in Lake's runs; use --dataset omniglot-lake")

    def width(self, split: ClassSplit) -> int:
        """Return one: the word picks a run where episodes are drawn."""
        return 1

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return runs picked by (B, 1) random words."""
        return self._runs(integers_below(words[:, 0], RUNS), split)

    def listed(self, start: int, stop: int, split: ClassSplit) -> EpisodeBatch:
        """Return runs ``start <= i < stop``, counted from 0."""
        return self._runs(np.arange(start, stop), split)

    @staticmethod
    def _runs(runs: NDArray[np.int64], split: ClassSplit) -> EpisodeBatch:
        training = split.starts[runs[:, None] * WAY + np.arange(WAY)]
        order = labels(WAY, 1, len(runs))
        return EpisodeBatch(
            support=training, support_labels=order, query=training + 1, query_labels=order.copy(), way=WAY
        )
