"""Episodes whose queries are unevenly spread over the classes, as those of a user are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, EpisodeBatch, Param, ProtocolSpec, UsageError, choose, unit_floats
from metabench_protocols._draw import QUERY, SHOT, WAY, Words, at_least, fewer_shots, images_of, labels, need_classes

Floats = NDArray[np.float64]

SPEC = ProtocolSpec(
    name="dirichlet",
    version=1,
    target="metabench_protocols.dirichlet:DirichletQueries",
    summary="N-way K-shot episodes with an even support set and queries of uneven Dirichlet proportions",
    reference="Veilleux et al. 2021, Realistic evaluation of transductive few-shot learning, section 3",
    licence="MIT",
    params=(
        WAY,
        SHOT,
        Param("query", QUERY.default, "mean number of query images of a class; their sum is the same in all episodes"),
        Param("alpha", 2.0, "concentration of the Dirichlet distribution: the larger, the more even"),
    ),
    training="fixed-way",
)
ALPHAS = (0.05, 1000.0)


class DirichletQueries:
    """Draws classes, their shares of ``way * query`` queries from Dirichlet(alpha), then images.

    Images of a class are drawn without replacement, support first, so that none is both (in the authors' sampler two
    independent draws let a share of shot / images of a class be both). A class that has fewer images than its share
    asks for gives all it has and the rest goes to the other classes in proportion to their shares.

    Args:
        way: classes in an episode, at least 2.
        shot: support images of each class, at least 1.
        query: mean number of queries of a class, at least 1.
        alpha: concentration, from 0.05 to 1000.
    """

    def __init__(self, way: int, shot: int, query: int, alpha: float) -> None:
        at_least(("way", way, 2), ("shot", shot, 1), ("query", query, 1))
        if not ALPHAS[0] <= alpha <= ALPHAS[1]:
            raise UsageError(f"alpha must be from {ALPHAS[0]} to {ALPHAS[1]:g}, not {alpha}")
        self.way, self.shot, self.query, self.alpha = way, shot, query, alpha
        self.n_query = way * query

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or one without room for twice its even share of queries."""
        need_classes(split, self.way)
        smallest = int(np.argmin(split.counts))
        room = int(split.counts[smallest]) - self.shot
        if room < 2 * self.query:
            remedy = f"the largest legal --query is {room // 2}" if room > 1 else fewer_shots(room + self.shot - 2)
            raise UsageError(
                f"uneven queries need classes of {self.shot} shot + {2 * self.query} images, twice the mean of "
                f"{self.query} queries, and class '{split.names[smallest]}' has {split.counts[smallest]}; {remedy}"
            )

    def width(self, split: ClassSplit) -> int:
        """Return the number of words: two for each class, and one for each image that it may give."""
        return self.way * (2 + self._deepest(split))

    def _deepest(self, split: ClassSplit) -> int:
        """Return the most images of one class that an episode can have."""
        return self.shot + min(self.n_query, int(split.counts.max()) - self.shot)

    def draw(self, words: NDArray[np.uint64], split: ClassSplit) -> EpisodeBatch:
        """Return the episodes of (B, width) random words; queries are in the order of their classes."""
        episodes, way = len(words), self.way
        classes = choose(words[:, :way], len(split.names))
        shares = dirichlet(words[:, way : 2 * way], self.alpha)
        counts = apportion(shares, self.n_query, split.counts[classes] - self.shot)
        rows = images_of(words[:, 2 * way :], classes, split)
        taken = np.arange(rows.shape[2] - self.shot) < counts[:, :, None]
        return EpisodeBatch(
            support=rows[:, :, : self.shot].reshape(episodes, way * self.shot),
            support_labels=labels(way, self.shot, episodes),
            query=rows[:, :, self.shot :][taken].reshape(episodes, self.n_query),
            query_labels=np.nonzero(taken)[1].reshape(episodes, self.n_query),
            way=way,
        )


def dirichlet(words: Words, alpha: float) -> Floats:
    """Return shares (B, way) from the symmetric Dirichlet(alpha): Gamma(alpha) quantiles over their sum."""
    from scipy.special import gammaincinv  # lists of plugins import this module and need no scipy

    gammas = gammaincinv(alpha, np.maximum(unit_floats(words), 2.0**-53))
    gammas = np.maximum(gammas, 1e-12)  # a small alpha gives zeros, and of nothing but zeros no share can be taken
    shares: Floats = gammas / gammas.sum(1, keepdims=True)
    return shares


def apportion(shares: Floats, total: int, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round ``shares * total`` (B, way) to whole numbers that sum to `total` and are at most `room`.

    By largest remainders, which is what rounding gives after entries whose fraction is nearest to one half are moved to
    the other side until the sum is right. What is beyond the room of a class goes to those with room, in proportion to
    their shares. The sum of `room` in a row must be at least `total`.
    """
    quota, full = shares * total, np.zeros(shares.shape, dtype=bool)
    while (over := ~full & (quota > room)).any():
        full |= over
        left = total - np.where(full, room, 0).sum(1, keepdims=True)
        others = np.where(full, 0.0, shares)
        quota = np.where(full, room, left * others / np.maximum(others.sum(1, keepdims=True), 1e-300))
    counts = np.floor(quota).astype(np.int64)
    rank = np.argsort(np.argsort(counts - quota, axis=1, kind="stable"), axis=1, kind="stable")
    counts += rank < total - counts.sum(1, keepdims=True)
    return counts
