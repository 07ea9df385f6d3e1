"""One run, fully resolved: what it is made of and its keys; pure, and free of torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError
from metabench.registry.metric import Metric
from metabench.registry.recipe import Recipe
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import TEST, AlgorithmSpec, BackboneSpec, ProtocolSpec
from metabench.statistics.stopping import StopRule
from metabench.utils.hashing import content_key

NO_DIGESTS: Mapping[str, str] = defaultdict(str)
"""Where the digests of the data are not known, or do not matter."""


def metric_of_protocol(choice: ResolvedPlugin) -> Metric:
    """Return what the episodes of a protocol are scored by."""
    return _protocol_spec(choice).metric


@dataclass(frozen=True)
class RunSpec:
    """One run: everything that can move its numbers, and nothing else."""

    algorithm: ResolvedPlugin
    backbone: ResolvedPlugin
    dataset: ResolvedPlugin
    protocol: ResolvedPlugin
    episodes: int
    """How many, or with open sampling or a stop rule, at most how many."""
    episode_seed: int
    sampling: str
    stop: StopRule | None
    precision: str
    recipe: Recipe | None
    """None where nothing is trained: no learning algorithm, or a checkpoint is given."""
    seed: int
    checkpoint: Path | None
    checkpoint_sha256: str
    split: str = TEST
    source: ResolvedPlugin | None = None
    """The data set that is trained on where it is another than `dataset`; None too where nothing is trained."""
    training_protocol: ResolvedPlugin | None = None
    """The protocol of training episodes where it is another than `protocol`."""

    @property
    def measured(self) -> str:
        """The name under which the digest of what is measured stands among those of `Session.digests_of`."""
        return self.split if self.source is None else f"measured {self.split}"

    @property
    def trained_on(self) -> ResolvedPlugin:
        """The data set whose training and validation classes are learned from."""
        return self.source or self.dataset

    @property
    def trained_by(self) -> ResolvedPlugin:
        """The protocol of the training episodes."""
        return self.training_protocol or self.protocol

    @property
    def metric(self) -> Metric:
        """What its episodes are scored by."""
        return metric_of_protocol(self.protocol)

    @property
    def parts(self) -> tuple[Metric, ...]:
        """What such a score is made of, where that is measured too."""
        return _protocol_spec(self.protocol).parts

    @property
    def width(self) -> int:
        """Numbers of one episode: its score, and the parts of it."""
        return 1 + len(self.parts)

    @property
    def beside(self) -> str:
        """The split whose classes stand beside those that are measured; mostly none."""
        return _protocol_spec(self.protocol).beside

    @property
    def reserve(self) -> float:
        """The share of the images of that split that training never sees."""
        return float(self.protocol.params["reserve"]) if self.beside else 0.0

    @property
    def support(self) -> str:
        """The split of the same classes that support is drawn from; mostly none."""
        return _protocol_spec(self.protocol).support

    @property
    def training_metric(self) -> Metric:
        """What the episodes of its validation are scored by."""
        return metric_of_protocol(self.trained_by)

    @property
    def local(self) -> list[str]:
        """What of it others do not have: loose files, the user's own data."""
        parts = ("algorithm", "backbone", "dataset", "protocol", "source", "training_protocol")
        found = [(part, choice) for part in parts if (choice := getattr(self, part)) is not None]
        here = [(part, it) for part, it in found if it.spec.file_sha256 or it.spec.local or it.weights_sha256]
        return [f"{part.replace('_', ' ')} {choice.name}" for part, choice in here]

    @property
    def label(self) -> str:
        """A short name for messages."""
        way, shot = self.protocol.params.get("way"), self.protocol.params.get("shot")
        where = self.dataset.name if self.split == TEST else f"{self.dataset.name} ({self.split})"
        where = where if self.source is None else f"{self.source.name} -> {where}"
        how = f"{way}-way {shot}-shot" if way and shot else self.protocol.name
        how += f" {shot}-shot" if shot and not way else ""
        return f"{self.algorithm.name} on {where}, {how}"

    @property
    def identity(self) -> str:
        """What tells this run from others before the digests of its data are known."""
        source = None if self.source is None else self.source.identity
        return content_key([self.inputs(NO_DIGESTS), self.dataset.identity, source, str(self.checkpoint)])

    def training_inputs(self, digests: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what determines the weights; `digests` are of the splits, see `Session.digests_of`.

        Data set and protocol of the training are named where they are not those of the evaluation.
        """
        if self.checkpoint is not None:
            return {"checkpoint": self.checkpoint_sha256}
        if self.recipe is None:
            return None
        return {
            **self.recipe.inputs(),
            "seed": self.seed,
            "digests": {name: digests[name] for name in ("train", "val") if name in digests},
            **({"reserve": {self.beside: self.reserve}} if self.beside else {}),
            **({} if self.source is None else {"dataset": self.source.inputs()}),
            **({} if self.training_protocol is None else {"protocol": _shapeless(self.training_protocol)}),
        }

    def inputs(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """Return the record's `inputs`, whose hash is the run key."""
        algorithm, backbone = self.algorithm.spec, self.backbone.spec
        assert isinstance(algorithm, AlgorithmSpec)
        assert isinstance(backbone, BackboneSpec)
        return {
            "algorithm": {**self.algorithm.inputs(), "setting": algorithm.setting_with(self.algorithm.params)},
            "backbone": {
                **self.backbone.inputs(),
                "trained_on": self.backbone.trained_on or backbone.trained_on_with(self.backbone.params),
            },
            "dataset": {
                **self.dataset.inputs(),
                "split": self.split,
                "digest": digests[self.measured],
                **({"beside": {self.beside: digests[self.beside]}} if self.beside else {}),
                **({"support": {self.support: digests[self.support]}} if self.support else {}),
            },
            "protocol": self.protocol.inputs(),
            "evaluation": {
                "episodes": self.episodes,
                "seed": self.episode_seed,
                "sampling": self.sampling,
                "stop": None if self.stop is None else dict(vars(self.stop)),
            },
            "training": self.training_inputs(digests),
            "precision": self.precision,
        }

    def training_key(self, digests: Mapping[str, str]) -> str:
        """Return the key of the trained weights, which several runs may share, whatever they are measured on."""
        inputs = {**self.inputs(digests), "protocol": _shapeless(self.trained_by), "evaluation": None}
        inputs["dataset"] = self.trained_on.inputs()
        training = inputs["training"] or {}
        inputs["training"] = {name: training[name] for name in training if name not in ("dataset", "protocol")}
        return content_key(inputs)


def _protocol_spec(choice: ResolvedPlugin) -> ProtocolSpec:
    assert isinstance(choice.spec, ProtocolSpec)
    return choice.spec


@dataclass(frozen=True)
class RejectedRun:
    """A run that cannot be made: its parts do not go together, or something that it needs is not here."""

    run: RunSpec
    error: MetabenchError


Planned = RunSpec | RejectedRun


def spec_of(planned: Planned) -> RunSpec:
    """Return the run, whether it can be made or not."""
    return planned.run if isinstance(planned, RejectedRun) else planned


def sound(planned: Iterable[Planned]) -> list[RunSpec]:
    """Return the runs; the first that cannot be made is an error.

    Raises:
        MetabenchError: why it cannot.
    """
    found = []
    for each in planned:
        if isinstance(each, RejectedRun):
            raise each.error
        found.append(each)
    return found


def _shapeless(protocol: ResolvedPlugin) -> dict[str, Any]:
    """A training protocol as it stands in keys: way, shot and query are the recipe's."""
    inputs = protocol.inputs()
    return {**inputs, "params": {k: v for k, v in inputs["params"].items() if k not in ("way", "shot", "query")}}
