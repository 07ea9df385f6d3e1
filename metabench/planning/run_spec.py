"""One run, fully resolved: its parts and its keys; pure, and free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError
from metabench.planning.data_digests import NO_DIGESTS, DataDigests
from metabench.registry.metric import Metric
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import TEST, AlgorithmSpec, BackboneSpec, DatasetSpec, ProtocolSpec
from metabench.registry.stage import Chain, Stage
from metabench.statistics.stopping import StopRule
from metabench.utils.hashing import content_key


@dataclass(frozen=True)
class RunSpec:
    """One run: everything that can change its numbers, and nothing else."""

    algorithm: ResolvedPlugin[AlgorithmSpec]
    backbone: ResolvedPlugin[BackboneSpec]
    dataset: ResolvedPlugin[DatasetSpec]
    protocol: ResolvedPlugin[ProtocolSpec]
    episodes: int
    """Number of episodes; the maximum under open sampling or a stop rule."""
    episode_seed: int
    sampling: str
    stop: StopRule | None
    precision: str
    stages: Chain
    """Of training; none where nothing is trained: the algorithm learns nothing, or a checkpoint is given."""
    seed: int
    checkpoint: Path | None
    checkpoint_sha256: str
    split: str = TEST
    source: ResolvedPlugin[DatasetSpec] | None = None
    """Dataset trained on; None where it is `dataset`, or nothing is trained."""
    training_protocol: ResolvedPlugin[ProtocolSpec] | None = None
    """Protocol of training episodes; None where it is `protocol`."""
    trained_as: ResolvedPlugin[AlgorithmSpec] | None = None
    """Algorithm that the backbone is trained as; None where it is `algorithm`, or nothing is trained."""

    @property
    def trained_on(self) -> ResolvedPlugin[DatasetSpec]:
        """Dataset whose training and validation classes are learned from."""
        return self.source or self.dataset

    @property
    def uses_base(self) -> bool:
        """Its algorithm studies the classes of the training split, which a checkpoint holds already."""
        uses = self.algorithm.spec.uses_with(self.algorithm.params)
        return "base" in uses and self.checkpoint is None

    def fits(self, index: int) -> bool:
        """Return whether the weights of a stage of training are those of the whole algorithm."""
        return self.stages[index].is_episodic and self.trained_as is None

    @property
    def weights_are_assembled(self) -> bool:
        """More than the weights of the last stage, or only the backbone of them, is evaluated."""
        return bool(self.stages) and (self.uses_base or not self.fits(-1))

    @property
    def trained_by(self) -> ResolvedPlugin[ProtocolSpec]:
        """Protocol of the training episodes."""
        return self.training_protocol or self.protocol

    @property
    def metric(self) -> Metric:
        """Metric of its episodes."""
        return self.protocol.spec.metric

    @property
    def parts(self) -> tuple[Metric, ...]:
        """Parts of the score that are measured too."""
        return self.protocol.spec.parts

    @property
    def width(self) -> int:
        """Number of values of one episode: its score and the parts of it."""
        return 1 + len(self.parts)

    @property
    def beside(self) -> str:
        """Split whose classes are in each episode beside the measured ones; mostly none."""
        return self.protocol.spec.beside

    @property
    def reserve(self) -> float:
        """Share of the images of that split held out of training."""
        return float(self.protocol.params["reserve"]) if self.beside else 0.0

    @property
    def support(self) -> str:
        """Split of the same classes that support is drawn from; mostly none."""
        return self.protocol.spec.support

    @property
    def training_metric(self) -> Metric:
        """Metric of its validation episodes."""
        return self.trained_by.spec.metric

    @property
    def local(self) -> list[str]:
        """Parts of it that others do not have: local plugin files, the user's own data and weights."""
        parts = ("algorithm", "backbone", "dataset", "protocol", "source", "training_protocol")
        plugins = {part: plugin for part in parts if (plugin := getattr(self, part)) is not None}
        return [f"{part.replace('_', ' ')} {plugin.name}" for part, plugin in plugins.items() if plugin.is_local]

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
        """Key that distinguishes this run from others before the digests of its data are known."""
        source = None if self.source is None else self.source.identity
        return content_key([self.inputs(NO_DIGESTS), self.dataset.identity, source, str(self.checkpoint)])

    def training_inputs(self, digests: DataDigests) -> dict[str, Any] | None:
        """Return everything that determines the weights: the last stage, and those before it where there are any.

        Dataset and protocol of the training are named where they differ from those of the evaluation.
        """
        if self.checkpoint is not None:
            return {"checkpoint": self.checkpoint_sha256}
        if not self.stages:
            return None
        *before, last = self.stages
        return {
            **self._stage_inputs(last, digests),
            **({"before": [stage.inputs() for stage in before]} if before else {}),
            **({} if self.source is None else {"dataset": self.source.inputs()}),
            **({} if self.training_protocol is None else {"protocol": _shapeless(self.training_protocol)}),
            **({} if self.trained_as is None else {"algorithm": self.trained_as.inputs()}),
        }

    def inputs(self, digests: DataDigests) -> dict[str, Any]:
        """Return the record's `inputs`, whose hash is the run key."""
        algorithm, backbone = self.algorithm, self.backbone
        return {
            "algorithm": {**algorithm.inputs(), "setting": algorithm.spec.setting_with(algorithm.params)},
            "backbone": {
                **backbone.inputs(),
                "trained_on": backbone.trained_on or backbone.spec.trained_on_with(backbone.params),
            },
            "dataset": {
                **self.dataset.inputs(),
                "split": self.split,
                "digest": digests.measured[self.split],
                **({"beside": {self.beside: digests.measured[self.beside]}} if self.beside else {}),
                **({"support": {self.support: digests.measured[self.support]}} if self.support else {}),
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
            **({"base": self._base_inputs(digests)} if self.uses_base else {}),
        }

    def stage_keys(self, digests: DataDigests) -> list[str]:
        """Return the key of the weights that each stage of the training ends with.

        Several runs may share them, whatever they are measured on. A key holds that of the stage before. A stage of
        classes is the same for every algorithm.
        """
        keys: list[str] = []
        learned = self.trained_as or self.algorithm
        whole = {name: value for name, value in self.inputs(digests).items() if name != "base"}
        for stage in self.stages:
            inputs = {
                **whole,
                "algorithm": _learned(learned),
                "dataset": self.trained_on.inputs(),
                "protocol": _shapeless(self.trained_by),
                "evaluation": None,
                "training": self._stage_inputs(stage, digests),
            }
            if not stage.is_episodic:
                del inputs["algorithm"]
            keys.append(content_key({**inputs, **({"before": keys[-1]} if keys else {})}))
        return keys

    def assembled_key(self, digests: DataDigests) -> str:
        """Return the key of weights that are made of those of the last stage and of what the algorithm studied."""
        return content_key({"algorithm": self.algorithm.inputs(), "stage": self.stage_keys(digests)[-1]})

    def _base_inputs(self, digests: DataDigests) -> dict[str, Any]:
        other = {} if self.source is None else {"dataset": self.source.inputs()}
        return {"digest": digests.trained["train"], **other}

    def _stage_inputs(self, stage: Stage, digests: DataDigests) -> dict[str, Any]:
        return {
            **stage.inputs(),
            "seed": self.seed,
            "digests": {name: digests.trained[name] for name in ("train", "val") if name in digests.trained},
            **({"reserve": {self.beside: self.reserve}} if self.beside else {}),
        }


@dataclass(frozen=True)
class RejectedRun:
    """A run that cannot be executed: its parts are incompatible, or something that it needs is missing."""

    run: RunSpec
    error: MetabenchError


Planned = RunSpec | RejectedRun


def run_of(planned: Planned) -> RunSpec:
    """Return the run of a plan, whether it can be executed or not."""
    return planned.run if isinstance(planned, RejectedRun) else planned


def require_valid(planned: Iterable[Planned]) -> list[RunSpec]:
    """Return the runs; raise the error of the first rejected one.

    Raises:
        MetabenchError: why a run cannot be executed.
    """
    runs = []
    for item in planned:
        if isinstance(item, RejectedRun):
            raise item.error
        runs.append(item)
    return runs


def _learned(algorithm: ResolvedPlugin[AlgorithmSpec]) -> dict[str, Any]:
    """Return an algorithm as the keys of its weights hold it: without the parameters that only score."""
    inputs, scoring = algorithm.inputs(), {param.name for param in algorithm.spec.params if param.scoring}
    params = {name: value for name, value in inputs["params"].items() if name not in scoring}
    return {**inputs, "params": params, "setting": algorithm.spec.setting_with(algorithm.params)}


def _shapeless(protocol: ResolvedPlugin[ProtocolSpec]) -> dict[str, Any]:
    """Return a training protocol as keys hold it: without way, shot and query, which are those of the recipe."""
    inputs = protocol.inputs()
    return {**inputs, "params": {k: v for k, v in inputs["params"].items() if k not in ("way", "shot", "query")}}
