"""Protocols for tests: episodes that differ in shape, and episodes that are scored by another metric than accuracy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.data import ClassSplit
from metabench.episodes.batch import EpisodeBatch
from metabench.registry.metric import Metric
from metabench.utils.random_streams import choose, integers_below

LOSS = Metric("brier", "", higher_is_better=False, digits=3)


class Uneven:
    """Episodes of 2 to 5 classes with 1 shot and, by the same word, 1 to 3 queries of each; the first word decides."""

    n_query = 15

    def check(self, split: ClassSplit) -> None:
        """Any split of five classes of four images will do."""

    def width(self, split: ClassSplit) -> int:
        """One word for the shape, then for five classes and for four images of each."""
        return 1 + 5 + 5 * 4

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Draw as many episodes as have the shape of the first."""
        shapes = integers_below(words[:, 0], np.uint64(12)).astype(int)
        run = int(np.argmax(shapes != shapes[0])) or len(shapes)
        words, way, query = words[:run], 2 + int(shapes[0]) % 4, 1 + int(shapes[0]) // 4
        classes = choose(words[:, 1:6], len(split.names))[:, :way]
        within = np.stack([choose(words[:, 6 + 4 * k : 10 + 4 * k], 4) for k in range(way)], axis=1)
        rows = split.starts[classes][:, :, None] + within
        labels = np.tile(np.arange(way), (run, 1))
        return EpisodeBatch(
            rows[:, :, 0], labels, rows[:, :, 1 : 1 + query].reshape(run, -1), np.repeat(labels, query, axis=1), way
        )


class Scored(Uneven):
    """The same episodes, scored by the squared error of the probabilities."""

    def values(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the Brier score of each episode."""
        wanted = torch.nn.functional.one_hot(truth, outputs.shape[-1])
        return (outputs.softmax(-1) - wanted).square().sum(-1).mean(1)
