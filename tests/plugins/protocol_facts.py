"""What holds of the episodes of any protocol, as one assertion; and their digests, pinned in tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally


def split_of(counts: list[int], groups: tuple[str, ...] = ()) -> ClassSplit:
    """A split of one-pixel images with so many images in each class."""
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images = np.zeros((int(starts[-1]), 1, 1, 1), dtype=np.uint8)
    return ClassSplit(images, starts, tuple(f"c{index}" for index in range(len(counts))), groups)


def digest(protocol: Any, split: ClassSplit, episodes: int = 200) -> str:
    """SHA-256 of the image rows of the first episodes of one stream."""
    source, tally = EpisodeSource(protocol, split, {"golden": 1}), EpisodeTally(split.starts)
    for index in range(episodes):
        tally.update(source.batch(index, index + 1))
    return tally.digest


def owners(split: ClassSplit, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each image row."""
    found: NDArray[np.int64] = np.searchsorted(split.starts, rows, side="right") - 1
    return found


def assert_sound(batch: EpisodeBatch, split: ClassSplit) -> None:
    """Images distinct, classes distinct, every known query of the class that its label says."""
    for episode in range(len(batch)):
        rows = np.concatenate([batch.support[episode], batch.query[episode]])
        assert len(np.unique(rows)) == len(rows), "an image is there twice"
        assert rows.min() >= 0 and rows.max() < len(split.images)
        named = owners(split, batch.support[episode])
        classes = {int(label): int(of) for label, of in zip(batch.support_labels[episode], named, strict=True)}
        assert sorted(classes) == list(range(batch.way)), "a class without support"
        assert len(set(classes.values())) == batch.way, "two labels are of one class"
        assert all(classes[int(label)] == of for label, of in zip(batch.support_labels[episode], named, strict=True))
        for label, of in zip(batch.query_labels[episode], owners(split, batch.query[episode]), strict=True):
            assert classes[int(label)] == of if label >= 0 else of not in classes.values()


def assert_row_by_row(protocol: Any, split: ClassSplit) -> None:
    """An episode depends on its own row of words alone, and on as many as `width` says."""
    words = np.random.Philox(0).random_raw(6 * protocol.width(split)).reshape(6, -1)
    whole = protocol.draw(words, split)
    for index in (4, 0, 5):
        alone = protocol.draw(words[index : index + 1], split)
        np.testing.assert_array_equal(whole.support[index], alone.support[0])
        np.testing.assert_array_equal(whole.query[index], alone.query[0])
        np.testing.assert_array_equal(whole.query_labels[index], alone.query_labels[0])
