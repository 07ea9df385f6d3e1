"""How long a run will take, by what similar runs in the store took."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from metabench.planning.run_spec import RunSpec
from metabench.statistics.episode_scores import answers
from metabench.utils.hashing import canonical_json

Costs = dict[str, list[float]]
_EPISODE = ("way", "shot", "query")


class Estimates:
    """What training, embedding and scoring took.

    Runs are similar if algorithm, backbone and data set are the same; those that agree in the parameters of the
    algorithm as well speak first. Training and scoring are scaled by the images in an episode and the number of
    episodes. The median of the runs counts.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.training: Costs = defaultdict(list)
        """Seconds for each image of a training episode."""
        self.scoring: Costs = defaultdict(list)
        """Seconds for each image of a measured episode."""
        self.embedding: Costs = defaultdict(list)
        """Seconds for all images of a split."""
        for record in records:
            if record["status"] == "ok":
                self._learn(record)

    def _learn(self, record: Mapping[str, Any]) -> None:
        inputs, cost, trained = record["inputs"], record["cost"], record["training"] or {}
        scored = len(answers(record["scores"])) * _images(inputs["protocol"]["params"])
        names = _names(inputs)
        seconds, episodes = _number(trained.get("seconds")), _number(trained.get("episode"))
        for name in names:
            if seconds and episodes:
                self.training[name].append(seconds / (episodes * _images(inputs["training"])))
            if seconds_scoring := _number(cost.get("scoring_seconds")):
                self.scoring[name].append(seconds_scoring / scored)
            self.embedding[name].append(_number(cost.get("embedding_seconds")))

    def train(self, run: RunSpec) -> float | None:
        """Return the seconds of the whole training; None where nothing is known."""
        if run.recipe is None:
            return 0.0
        rate = _median(self.training, run)
        return None if rate is None else rate * run.recipe.episodes * _images(vars(run.recipe))

    def measure(self, run: RunSpec) -> float | None:
        """Return the seconds of embedding and of scoring all episodes; None where nothing is known."""
        rate = _median(self.scoring, run)
        if rate is None:
            return None
        embedding = max(next(self.embedding[name] for name in _names(_inputs(run)) if name in self.embedding))
        return embedding + rate * run.episodes * _images(run.protocol.params)


def _median(costs: Costs, run: RunSpec) -> float | None:
    return next((statistics.median(costs[name]) for name in _names(_inputs(run)) if name in costs), None)


def _inputs(run: RunSpec) -> dict[str, Any]:
    parts = ("algorithm", "backbone", "dataset")
    found = {part: getattr(run, part).inputs() for part in parts}
    return {**found, "dataset": {**found["dataset"], "beside": [split for split in (run.beside, run.support) if split]}}


def _names(inputs: Mapping[str, Any]) -> tuple[str, str]:
    """Under which names a run is remembered: the first with the algorithm's parameters."""
    algorithm = inputs["algorithm"]
    rest = [inputs["backbone"]["name"], inputs["backbone"]["params"], inputs["dataset"]["name"]]
    rest += sorted(inputs["dataset"].get("beside", ()))  # all classes of a split in every episode take their time
    return canonical_json([algorithm["name"], algorithm["params"], *rest]), canonical_json([algorithm["name"], *rest])


def _images(params: Mapping[str, Any]) -> int:
    """Images in an episode; 1 where a protocol draws their number anew, so that episodes count instead."""
    way, shot, query = (params.get(name) for name in _EPISODE)
    return way * (shot + query) if way and shot and query else 1


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) and value > 0 else 0.0
