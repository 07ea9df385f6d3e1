"""Open sampling: episodes that share no image, as many as a split has (Lafargue et al. 2024, arXiv 2409.02850)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.data.split import RowIndices
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.protocols import DisjointProtocol, EpisodeProtocol
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.utils.random_streams import Stream

_Ints = NDArray[np.int64]


class DisjointSource(EpisodeSource):
    """A finite sequence of episodes in which every image of the split occurs at most once.

    There are as many episodes as the split allows, at most `limit`. Classes are used as evenly as that number
    permits (a class with too few images for one episode not at all); which classes meet, and which images of a
    class go where, is random. The whole sequence is laid out at once from the named streams, so episode i does not
    depend on what was asked for before; it does depend on `limit` where that is less than the split allows.

    Args:
        protocol: what an episode is made of.
        split: what to draw from.
        name: any JSON value that names the sequence.
        limit: most episodes wanted.

    Attributes:
        episodes: how many there are.

    Raises:
        UsageError: the protocol cannot do it, or the split has too few images for a single episode.
    """

    def __init__(self, protocol: EpisodeProtocol, split: ClassSplit, name: Any, limit: int) -> None:
        if not isinstance(protocol, DisjointProtocol):
            raise UsageError(
                f"{type(protocol).__name__} has no open sampling: its episodes are not made of so many images of so "
                "many classes, whichever; leave --sampling out"
            )
        self.protocol: EpisodeProtocol = protocol
        self.split = split
        self._arrange = protocol.arrange
        uses = split.counts // protocol.per_class
        self.episodes = min(limit, _most_episodes(uses, protocol.way))
        if self.episodes == 0:
            able = int((uses > 0).sum())
            raise UsageError(
                f"open sampling needs {protocol.way} classes of {protocol.per_class} images, shot and query, and the "
                f"split has {able}; use fewer --ways, --shots or a smaller --query"
            )
        name = ["open", name]
        quotas = _quotas(uses, protocol.way, self.episodes, Stream(["quotas", name], len(uses)).words(0, 1)[0])
        classes = _classes(quotas, protocol.way, self.episodes, name)
        self._rows = _rows(classes, split, protocol.per_class, name)
        self._name_queries(name)

    def runs(self, start: int, stop: int) -> Iterator[EpisodeBatch]:
        """Yield episodes ``start <= i < stop`` (at most `episodes`)."""
        batch = self._arrange(self._rows[start:stop])
        self._require(batch, stop - start, "arrange", self.split)
        yield batch


def _most_episodes(uses: _Ints, way: int) -> int:
    """Return the largest T for which T episodes of `way` distinct classes exist: sum_c min(uses_c, T) >= way * T.

    That this is enough is the theorem of Gale and Ryser on 0-1 matrices with given margins.
    """
    low, high = 0, int(uses.sum()) // way
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(uses, middle).sum()) >= way * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _quotas(uses: _Ints, way: int, episodes: int, words: NDArray[np.uint64]) -> _Ints:
    """Return how often each class is used: as evenly as `uses` allows, the remainder to classes chosen by `words`."""
    needed, low, high = way * episodes, 0, episodes
    while low < high:  # the largest level that does not need more than there is
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(np.minimum(uses, middle).sum()) <= needed else (low, middle - 1)
    quotas = np.minimum(uses, low)
    able = np.flatnonzero(uses > low)
    quotas[able[np.argsort(words[able], kind="stable")][: needed - int(quotas.sum())]] += 1
    return quotas


def _classes(quotas: _Ints, way: int, episodes: int, name: Any) -> _Ints:
    """Deal the classes out to episodes (T, way): always those with most uses left, ties at random."""
    left, dealt = quotas.copy(), np.empty((episodes, way), dtype=np.int64)
    stream = Stream(["deal", name], len(quotas))
    words = (line for start in range(0, episodes, 64) for line in stream.words(start, min(start + 64, episodes)))
    for episode, line in enumerate(words):
        least = np.partition(left, len(left) - way)[len(left) - way]
        candidates = np.flatnonzero(left >= least)
        dealt[episode] = candidates[np.lexsort((line[candidates], -left[candidates]))][:way]
        left[dealt[episode]] -= 1
    # Classes with more uses came first: neither the order of episodes nor that of labels may tell.
    episode_words = Stream(["shuffle", name], episodes).words(0, 1)[0]
    dealt = dealt[np.argsort(episode_words, kind="stable")]
    label_words = Stream(["labels", name], way).words(0, episodes)
    return np.take_along_axis(dealt, np.argsort(label_words, axis=1, kind="stable"), axis=1)


def _rows(classes: _Ints, split: ClassSplit, per_class: int, name: Any) -> RowIndices:
    """Give each use of a class the next images of a random order of its images, (T, way, per_class)."""
    total = int(split.starts[-1])
    words = Stream(["images", name], total).words(0, 1)[0]
    owner = np.repeat(np.arange(len(split.counts)), split.counts)
    shuffled = np.lexsort((words, owner))  # class by class
    flat = classes.ravel()
    by_class = np.argsort(flat, kind="stable")
    used = np.bincount(flat, minlength=len(split.counts))
    turn = np.empty(len(flat), dtype=np.int64)
    turn[by_class] = np.arange(len(flat)) - np.repeat(np.cumsum(used) - used, used)
    places = (split.starts[flat] + turn * per_class)[:, None] + np.arange(per_class)
    rows: RowIndices = shuffled[places].reshape(*classes.shape, per_class)
    return rows
