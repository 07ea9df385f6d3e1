"""Estimates of how long a run takes, from similar runs in the store."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metabench.planning.run_spec import RunSpec
from metabench.records.inputs import Inputs
from metabench.records.schema import Record, TrainingOutcome
from metabench.registry.params import Value
from metabench.utils.hashing import canonical_json

Costs = dict[str, list[float]]
_EPISODE = ("way", "shot", "query")


class Estimates:
    """Times that training, embedding and scoring took.

    Runs are similar if algorithm, backbone and dataset are the same; runs with the same parameters of the algorithm
    are preferred. Training and scoring are scaled by the images in an episode and the number of episodes. The
    estimate is the median over similar runs.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.training: Costs = defaultdict(list)
        """Seconds for each image of a training episode."""
        self.scoring: Costs = defaultdict(list)
        """Seconds for each image of a measured episode."""
        self.embedding: Costs = defaultdict(list)
        """Seconds for all images of a split."""
        for record in records:
            if record.status == "ok":
                self._learn(record)

    def _learn(self, record: Record) -> None:
        inputs, cost, trained = record.inputs, record.cost, record.training
        scored = len(record.measured) * _images(inputs.protocol.params)
        rate = None if trained is None else _training_rate(inputs, trained)
        for name in _names_of_record(inputs):
            if rate:
                self.training[name].append(rate)
            if seconds_scoring := _positive(cost.scoring_seconds):
                self.scoring[name].append(seconds_scoring / scored)
            self.embedding[name].append(_positive(cost.embedding_seconds))

    def train(self, run: RunSpec) -> float | None:
        """Return the seconds of the whole training; None where nothing similar was measured."""
        if not run.stages:
            return 0.0
        rate = _median(self.training, run)
        return None if rate is None else rate * run.recipe.episodes * _images(vars(run.recipe))

    def measure(self, run: RunSpec) -> float | None:
        """Return the seconds of embedding and of scoring all episodes; None where nothing similar was measured."""
        rate = _median(self.scoring, run)
        if rate is None:
            return None
        embedding = max(next(self.embedding[name] for name in _names_of_run(run) if name in self.embedding))
        return embedding + rate * run.episodes * _images(run.protocol.params)


def _median(costs: Costs, run: RunSpec) -> float | None:
    return next((statistics.median(costs[name]) for name in _names_of_run(run) if name in costs), None)


def _names_of_run(run: RunSpec) -> tuple[str, str]:
    rest = [run.backbone.name, run.backbone.recorded, run.dataset.name]
    return _names(run.algorithm.name, run.algorithm.recorded, rest, filter(None, (run.beside, run.support)))


def _names_of_record(inputs: Inputs) -> tuple[str, str]:
    rest = [inputs.backbone.name, inputs.backbone.params, inputs.dataset.name]
    others = (*inputs.dataset.beside, *inputs.dataset.support)
    return _names(inputs.algorithm.name, inputs.algorithm.params, rest, others)


def _names(
    algorithm: str, params: Mapping[str, Value], rest: Sequence[Any], other_splits: Iterable[str]
) -> tuple[str, str]:
    """Return the names under which a run is remembered: the first with the algorithm's parameters."""
    rest = [*rest, *sorted(other_splits)]  # all classes of a split in every episode take their time
    return canonical_json([algorithm, params, *rest]), canonical_json([algorithm, *rest])


def _training_rate(inputs: Inputs, trained: TrainingOutcome) -> float:
    """Return the seconds for each image of a training episode; 0 where the record does not say."""
    seconds, episodes = _positive(trained.seconds), _positive(trained.episode)
    recipe = inputs.training
    if not seconds or not episodes or recipe is None:
        return 0.0
    return seconds / (episodes * _images({"way": recipe.way, "shot": recipe.shot, "query": recipe.query}))


def _images(params: Mapping[str, Any]) -> int:
    """Return the images in an episode; 1 where their number varies, so that episodes are counted instead."""
    way, shot, query = (params.get(name) for name in _EPISODE)
    return way * (shot + query) if way and shot and query else 1


def _positive(value: float | None) -> float:
    return float(value) if value is not None and value > 0 else 0.0
