"""Estimates of how long a run takes, from similar runs in the store."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from metabench.planning.run_spec import RunSpec
from metabench.records.inputs import Inputs, StageInputs
from metabench.records.schema import Record, StageOutcome
from metabench.registry.params import Value
from metabench.registry.stage import Stage
from metabench.utils.hashing import canonical_json

Costs = dict[str, list[float]]
EPISODES = "episodes"
_EPISODE = ("way", "shot", "query")


class Estimates:
    """Times that training, embedding and scoring took.

    Runs are similar if algorithm, backbone and dataset are the same; runs with the same parameters of the algorithm
    are preferred. Training and scoring are scaled by the images in an episode and the number of episodes. The
    estimate is the median over similar runs.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.training: Costs = defaultdict(list)
        """Seconds for each image of a training episode, or for each epoch of a stage of classes."""
        self.scoring: Costs = defaultdict(list)
        """Seconds for each image of a measured episode."""
        self.embedding: Costs = defaultdict(list)
        """Seconds for all images of a split."""
        for record in records:
            if record.status == "ok":
                self._learn(record)

    def _learn(self, record: Record) -> None:
        inputs, cost = record.inputs, record.cost
        scored = len(record.measured) * _images(inputs.protocol.params)
        for stage, outcome in _stages(record):
            if rate := _training_rate(stage, outcome):
                for name in _names_of_record(inputs, stage.objective):
                    self.training[name].append(rate)
        for name in _names_of_record(inputs):
            if seconds_scoring := _positive(cost.scoring_seconds):
                self.scoring[name].append(seconds_scoring / scored)
            self.embedding[name].append(_positive(cost.embedding_seconds))

    def train(self, run: RunSpec, stage: Stage) -> float | None:
        """Return the seconds of a whole stage of training; None where nothing similar was measured."""
        rate = _median(self.training, run, stage.objective)
        return None if rate is None else rate * stage.length * (_images(vars(stage)) if stage.is_episodic else 1)

    def measure(self, run: RunSpec) -> float | None:
        """Return the seconds of embedding and of scoring all episodes; None where nothing similar was measured."""
        rate = _median(self.scoring, run)
        if rate is None:
            return None
        embedding = max(next(self.embedding[name] for name in _names_of_run(run) if name in self.embedding))
        return embedding + rate * run.episodes * _images(run.protocol.params)


def _median(costs: Costs, run: RunSpec, objective: str = EPISODES) -> float | None:
    return next((statistics.median(costs[name]) for name in _names_of_run(run, objective) if name in costs), None)


def _names_of_run(run: RunSpec, objective: str = EPISODES) -> tuple[str, str]:
    rest = [run.backbone.name, run.backbone.recorded, run.dataset.name]
    others = filter(None, (run.beside, run.support))
    if objective != EPISODES:
        return _names(objective, {}, rest, others)
    return _names(run.algorithm.name, run.algorithm.recorded, rest, others)


def _names_of_record(inputs: Inputs, objective: str = EPISODES) -> tuple[str, str]:
    rest = [inputs.backbone.name, inputs.backbone.params, inputs.dataset.name]
    others = (*inputs.dataset.beside, *inputs.dataset.support)
    if objective != EPISODES:
        return _names(objective, {}, rest, others)
    return _names(inputs.algorithm.name, inputs.algorithm.params, rest, others)


def _names(
    algorithm: str, params: Mapping[str, Value], rest: Sequence[Any], other_splits: Iterable[str]
) -> tuple[str, str]:
    """Return the names under which a run is remembered: the first with the algorithm's parameters."""
    rest = [*rest, *sorted(other_splits)]  # all classes of a split in every episode take their time
    return canonical_json([algorithm, params, *rest]), canonical_json([algorithm, *rest])


def _stages(record: Record) -> Iterator[tuple[StageInputs, StageOutcome]]:
    """Yield the stages of the training of a record with the course of each."""
    inputs, outcome = record.inputs.training, record.training
    if inputs is not None and outcome is not None and len(inputs.before) == len(outcome.before):
        yield from zip((*inputs.before, inputs), (*outcome.before, outcome), strict=True)


def _training_rate(stage: StageInputs, outcome: StageOutcome) -> float:
    """Return the seconds for each image of a training episode, or for an epoch; 0 where the record does not say."""
    seconds, length = _positive(outcome.seconds), _positive(outcome.episode or outcome.epoch)
    if not seconds or not length:
        return 0.0
    return seconds / (length * _images({"way": stage.way, "shot": stage.shot, "query": stage.query}))


def _images(params: Mapping[str, Any]) -> int:
    """Return the images in an episode; 1 where their number varies, so that episodes are counted instead."""
    way, shot, query = (params.get(name) for name in _EPISODE)
    return way * (shot + query) if way and shot and query else 1


def _positive(value: float | None) -> float:
    return float(value) if value is not None and value > 0 else 0.0
