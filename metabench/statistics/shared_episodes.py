"""Episodes that runs have in common, and the covariances of their means.

Episode i is a pure function of what names its stream and of i. Two runs of one stream that ended at different episodes,
each by its own width say, have met the same ones as far as the shorter run goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.statistics.episode_scores import EpisodeScores, Floats

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Run:
    """The scores of one run, and what they share with those of others.

    Attributes:
        stream: the name of its episodes, as `metabench.records.inputs.Inputs.stream`; '' where it is not known.
        weights: the digest of the trained weights; '' where nothing was trained or the digest is not known.
    """

    scores: EpisodeScores
    stream: str = ""
    weights: str = ""

    def shared(self, other: Run) -> int:
        """Return the number of leading episodes that both runs met."""
        if self.scores.paired(other.scores):
            return len(self.scores)
        one, two = len(self.scores), len(other.scores)
        return min(one, two) if self.stream and self.stream == other.stream and one != two else 0


def covariances(runs: Sequence[Run]) -> tuple[Floats, Bools]:
    """Return the covariances (k, k) of the means of k runs over drawing episodes anew, the trained models given.

    Of runs with the episodes 1 .. S and 1 .. T, S <= T, it is the covariance of the scores of the first S over T.

    Args:
        runs: of at least two episodes each.

    Returns:
        The covariances of the merits' means (0 where no episode is shared), and which runs share episodes.
    """
    result, together = np.zeros((len(runs), len(runs))), np.zeros((len(runs), len(runs)), dtype=bool)
    groups = _same_episodes(runs)
    rows = [np.stack([runs[index].scores.merits for index in group]) for group in groups]
    for i, one in enumerate(groups):
        for j, two in enumerate(groups[: i + 1]):
            shared = runs[one[0]].shared(runs[two[0]]) if i != j else rows[i].shape[1]
            if shared < 2:
                continue
            a, b = (_centred(matrix[:, :shared]) for matrix in (rows[i], rows[j]))
            block = a @ b.T / (shared - 1) / max(rows[i].shape[1], rows[j].shape[1])
            result[np.ix_(one, two)], result[np.ix_(two, one)] = block, block.T
            together[np.ix_(one, two)] = together[np.ix_(two, one)] = True
    return result, together


def _same_episodes(runs: Sequence[Run]) -> list[list[int]]:
    """Group the positions of runs that met exactly the same episodes."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        groups[(run.scores.digest, len(run.scores)) if run.scores.digest else (index,)].append(index)
    return list(groups.values())


def _centred(rows: Floats) -> Floats:
    centred: Floats = rows - rows.mean(1, keepdims=True)
    return centred
