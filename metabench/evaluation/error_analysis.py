"""Error analysis of a run: its worst episodes, its worst classes, and the classes that it confuses.

A record keeps only the number of correct answers of each episode. The rest comes from replaying the episodes, which
costs seconds, since their images are embedded already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.data.split import ClassSplit
from metabench.episodes.batch import EpisodeBatch
from metabench.statistics.student_t import t_quantile

SHARE = 0.1
"""Share of episodes that count as the worst: the lowest decile."""
RARE_CLASS_EPISODES = 10
"""Classes that were in fewer episodes are listed last, since their means are mostly chance."""
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ClassRow:
    """Results for the queries of one class, in percent.

    Attributes:
        accuracy: share of correct queries, averaged over the episodes with the class.
        ci95: half-width of the 95 % Student-t interval over those episodes; None for one episode, or equal ones.
        precision: share of the queries answered with this class that belong to it; None where no query was.
        in_worst: share of the class's episodes that are among the worst tenth.
        taken_for: the most frequent wrong answer to its queries, '' where all are correct.
    """

    name: str
    accuracy: float
    ci95: float | None
    precision: float | None
    in_worst: float
    taken_for: str
    episodes: int
    queries: int


@dataclass(frozen=True)
class Confusion:
    """A confusion: `count` of `queries` of class `truth` were answered with `answer`, where both were in the episode.

    Confusions are ranked by the lower end of the share's 95 % interval, so that small counts do not lead.
    """

    truth: str
    answer: str
    percent: float
    count: int
    queries: int


@dataclass(frozen=True)
class BadEpisode:
    """One of the worst episodes: its index, accuracy in percent and classes."""

    episode: int
    accuracy: float
    classes: tuple[str, ...]


@dataclass(frozen=True)
class WorstCase:
    """The error analysis of a run.

    Attributes:
        accuracy: mean over episodes, in percent.
        worst_tenth: mean over the lowest tenth of the episodes.
        quantiles: of the accuracy of episodes: the lowest, 5, 10, 25 and 50 %.
        bad: the worst episodes.
        classes: worst first, those in few episodes last.
        confusions: most frequent first.
    """

    episodes: int
    accuracy: float
    worst_tenth: float
    quantiles: dict[str, float]
    bad: tuple[BadEpisode, ...]
    classes: tuple[ClassRow, ...]
    confusions: tuple[Confusion, ...]


class ErrorAnalyzer:
    """A tally of answers as episodes are replayed.

    Args:
        split: source of the episodes.
    """

    def __init__(self, split: ClassSplit) -> None:
        self._class_of, self._names = split.class_of, split.names
        size = len(split.names)
        self._answered, self._together = (np.zeros((size, size), dtype=np.int64) for _ in range(2))
        self._members: list[_Ints] = []
        self._right: list[NDArray[np.float64]] = []
        self._rates: list[NDArray[np.float64]] = []

    def __call__(self, batch: EpisodeBatch, winners: _Ints) -> None:
        """Add the episodes of `batch` and the labels (B, Q) that their queries were given."""
        rows = np.arange(len(batch))[:, None]
        members = np.empty((len(batch), batch.way), dtype=np.int64)
        members[rows, batch.support_labels] = self._class_of(batch.support)
        truth, right = self._class_of(batch.query), winners == batch.query_labels
        np.add.at(self._answered, (truth, members[rows, winners]), 1)
        np.add.at(self._together, (truth[:, :, None], members[:, None, :]), 1)
        asked, hit = (np.zeros((len(batch), batch.way)) for _ in range(2))
        np.add.at(asked, (rows, batch.query_labels), 1)
        np.add.at(hit, (rows, batch.query_labels), right)
        with np.errstate(invalid="ignore"):  # a class without a query in an episode
            self._rates += list(hit / asked)
        self._members += list(members)
        self._right.append(right.mean(1))

    def result(self, top: int) -> WorstCase:
        """Return the analysis, with the `top` worst episodes and most frequent confusions."""
        scores = 100.0 * np.concatenate(self._right)
        order = np.argsort(scores, kind="stable")
        worst = order[: math.ceil(SHARE * len(scores))]
        points = {"lowest": 0, "5 %": 5, "10 %": 10, "25 %": 25, "50 %": 50}
        bad = (BadEpisode(int(i), float(scores[i]), self._named(self._members[i])) for i in order[:top])
        return WorstCase(
            len(scores),
            float(scores.mean()),
            float(scores[worst].mean()),
            {name: float(np.percentile(scores, point)) for name, point in points.items()},
            tuple(bad),
            self._classes(worst),
            self._confusions(top),
        )

    def _named(self, classes: _Ints) -> tuple[str, ...]:
        return tuple(self._names[index] for index in classes)

    def _classes(self, worst: _Ints) -> tuple[ClassRow, ...]:
        episode = np.repeat(np.arange(len(self._members)), [len(members) for members in self._members])
        member, rate = np.concatenate(self._members), np.concatenate(self._rates)
        class_rows = []
        for index in np.flatnonzero(np.bincount(member, minlength=len(self._names))):
            mine = (member == index) & ~np.isnan(rate)
            if mine.any():
                bad = np.isin(episode[mine], worst)
                class_rows.append(self._row(int(index), 100.0 * rate[mine], 100.0 * float(bad.mean())))
        return tuple(sorted(class_rows, key=lambda row: (row.episodes < RARE_CLASS_EPISODES, row.accuracy, row.name)))

    def _row(self, index: int, rates: NDArray[np.float64], in_worst: float) -> ClassRow:
        count = len(rates)
        sd = float(rates.std(ddof=1)) if count > 1 else 0.0
        half = t_quantile(count - 1, 0.95) * sd / math.sqrt(count) if sd else None  # equal values have no width
        given = int(self._answered[:, index].sum())
        wrong = self._answered[index].copy()
        hits, wrong[index] = int(wrong[index]), 0
        return ClassRow(
            self._names[index],
            float(rates.mean()),
            half,
            100.0 * hits / given if given else None,
            in_worst,
            self._names[int(wrong.argmax())] if wrong.any() else "",
            count,
            int(self._answered[index].sum()),
        )

    def _confusions(self, top: int) -> tuple[Confusion, ...]:
        wrong = self._answered.copy()
        np.fill_diagonal(wrong, 0)
        truth, answer = np.nonzero(wrong)
        counts, queries = wrong[truth, answer], self._together[truth, answer]
        order = np.lexsort((answer, truth, -_at_least(counts, queries)))[:top]
        return tuple(
            Confusion(self._names[t], self._names[a], 100.0 * int(c) / int(q), int(c), int(q))
            for t, a, c, q in zip(truth[order], answer[order], counts[order], queries[order], strict=True)
        )


def _at_least(counts: _Ints, queries: _Ints) -> NDArray[np.float64]:
    """Return the lower end of Wilson's 95 % interval for a share, which ranks seven of ten above two of two."""
    z, share = 1.96, counts / queries
    middle, half = share + z**2 / (2 * queries), z * np.sqrt(share * (1 - share) / queries + z**2 / (4 * queries**2))
    return np.asarray((middle - half) / (1 + z**2 / queries), dtype=np.float64)
