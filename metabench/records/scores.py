"""The scores of a record, episode by episode, as its JSON holds them and as statistics read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from metabench.records.inputs import MAX_EPISODES, EvaluationInputs
from metabench.registry.metric import ACCURACY, Metric
from metabench.statistics.episode_scores import EpisodeScores, Floats
from metabench.statistics.summary import Summary, summarise

MAX_CLASSES = 1_000_000
MAX_QUERIES = 1_000_000
MAX_VALUE = 1e30
"""Largest value of a metric; a larger one has diverged, and its square must still be a number."""
MAX_PARTS = 8

Count = Annotated[int, Meta(ge=0, le=MAX_EPISODES * MAX_QUERIES)]
Correct = Annotated[int, Meta(ge=0, le=MAX_QUERIES)]
Queries = Annotated[int, Meta(ge=1, le=MAX_QUERIES)]
Score = Annotated[int, Meta(ge=-(10**18), le=10**18)] | Annotated[float, Meta(ge=-MAX_VALUE, le=MAX_VALUE)]
PerEpisode = Meta(min_length=1, max_length=MAX_EPISODES)
PerClass = Meta(min_length=2, max_length=MAX_CLASSES)


class MetricField(Struct, frozen=True, forbid_unknown_fields=True):
    """The metric of values; see `metabench.registry.metric.Metric`. Counts are always accuracy and need none."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,29}\Z")]
    unit: Annotated[str, Meta(pattern=r"^[A-Za-z0-9%°/^*·-]{0,12}\Z")]
    higher_is_better: bool
    digits: Annotated[int, Meta(ge=0, le=9)]

    @property
    def metric(self) -> Metric:
        """The metric itself."""
        return Metric(self.name, self.unit, self.higher_is_better, self.digits)


class ScorePart(Struct, frozen=True, forbid_unknown_fields=True):
    """Another metric of the same episodes that the score is made of."""

    metric: MetricField
    values: Annotated[tuple[Score, ...], PerEpisode]


class ClassSums(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """For each class of the test set, the episodes that it took part in and the sum over those.

    Attributes:
        episodes: (C,) number of episodes.
        correct: (C,) correct answers, where all episodes have as many queries and are scored by counts; else empty.
        totals: (C,) sums of scores, otherwise.
        of: ``groups`` where episodes are of one group of classes and these are the sums of groups.
    """

    episodes: Annotated[tuple[Count, ...], PerClass]
    correct: Annotated[tuple[Count, ...], PerClass] = ()
    totals: Annotated[tuple[Score, ...], PerClass] = ()
    of: Literal["", "groups"] = ""


class Scores(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, dict=True):
    """The scores of the episodes of one run.

    Attributes:
        n_query: queries in an episode, or of every single one (T,) where they differ.
        correct: (T,) correct answers; empty where the record holds values.
        values: (T,) in the unit of the metric; empty where the record holds counts.
        metric_field: of values.
        parts: what values are made of, if anything.
        episodes_digest: SHA-256 over the rows of all episodes.
        classes: the sums by class; None where episodes have no classes.
    """

    n_query: Queries | Annotated[tuple[Queries, ...], PerEpisode]
    correct: Annotated[tuple[Correct, ...], PerEpisode] = ()
    values: Annotated[tuple[Score, ...], PerEpisode] = ()
    metric_field: MetricField | None = msgspec.field(name="metric", default=None)
    parts: Annotated[tuple[ScorePart, ...], Meta(min_length=1, max_length=MAX_PARTS)] = ()
    episodes_digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{16,128}\Z")]
    classes: ClassSums | None

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def is_counted(self) -> bool:
        """True where the record holds correct answers, not values of a metric."""
        return self.metric_field is None

    @property
    def answers(self) -> Sequence[float]:
        """The counts or values that the record holds, one for each episode."""
        return self.correct if self.is_counted else self.values

    @property
    def answers_name(self) -> str:
        """The name under which the JSON holds `answers`."""
        return "correct" if self.is_counted else "values"

    @property
    def metric(self) -> Metric:
        """The metric of the scores."""
        return ACCURACY if self.metric_field is None else self.metric_field.metric

    @property
    def queries(self) -> Sequence[int]:
        """The number of queries of each episode."""
        return (self.n_query,) * len(self) if isinstance(self.n_query, int) else self.n_query

    @property
    def same_queries(self) -> int | None:
        """The number of queries of all episodes; None where episodes differ."""
        return self.n_query if isinstance(self.n_query, int) else None

    @property
    def shares(self) -> Floats:
        """The share of correct answers in each episode (T,) of counts, in [0, 1]."""
        shares: Floats = np.asarray(self.correct, np.float64) / np.asarray(self.n_query, np.float64)
        return shares

    @cached_property
    def per_episode(self) -> EpisodeScores:
        """The scores as statistics read them."""
        classes, sums = self.classes, None
        if self.is_counted:
            if classes is not None and classes.correct:
                sums = classes.episodes, classes.correct
            return EpisodeScores.of_counts(self.correct, self.n_query, sums, self.episodes_digest)
        values = np.asarray(self.values, np.float64)
        if classes is None or self.same_queries is None:
            return EpisodeScores(values, self.metric, 0, self.episodes_digest)
        totals = np.asarray(classes.episodes, np.int64), np.asarray(classes.totals, np.float64)
        return EpisodeScores(values, self.metric, 0, self.episodes_digest, totals)

    @property
    def parts_per_episode(self) -> list[EpisodeScores]:
        """The parts as statistics read them."""
        return [
            EpisodeScores(np.asarray(part.values, np.float64), part.metric.metric, digest=self.episodes_digest)
            for part in self.parts
        ]


def scores_of(plain: Any) -> Scores:
    """Return scores that were measured now, from plain values as `EpisodeTally.record` returns them.

    Raises:
        msgspec.ValidationError: they are no scores.
    """
    return msgspec.convert(plain, Scores)


def summary_of(scores: Scores, evaluation: EvaluationInputs) -> Summary:
    """Return the summary of the scores of a run whose inputs have this `evaluation`."""
    rule = None if evaluation.stop is None else evaluation.stop.rule
    summary = summarise(scores.per_episode, evaluation.sampling, rule)
    parts = tuple(summarise(part, evaluation.sampling) for part in scores.parts_per_episode)
    return replace(summary, parts=parts) if parts else summary


def metric_as_plain(metric: Metric) -> dict[str, Any]:
    """Return a metric as a record holds it."""
    return asdict(metric)


def parts_as_plain(parts: Sequence[Metric], values: Floats) -> list[dict[str, Any]]:
    """Return parts of scores as a record holds them: values (T, parts), of which six decimals are kept."""
    return [
        {"metric": metric_as_plain(part), "values": np.round(column, 6).tolist()}
        for part, column in zip(parts, values.T, strict=True)
    ]
