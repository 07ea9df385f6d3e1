"""The episodes that a run is trained on and measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metabench.data.dataset_loader import DatasetLoader
from metabench.episodes.open_sampling import DisjointSource
from metabench.episodes.protocols import EpisodeProtocol, ListedProtocol, ValuedProtocol
from metabench.episodes.source import EpisodeSource, ListedSource
from metabench.episodes.unreserved_source import UnreservedSource
from metabench.errors import UsageError
from metabench.execution.run_data import measured_split, withheld_images
from metabench.planning.data_digests import DataDigests
from metabench.planning.run_spec import RunSpec
from metabench.registry.metric import ACCURACY
from metabench.registry.registry import load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import ProtocolSpec, defaults
from metabench.registry.stage import Stage
from metabench.training.episode_errors import training_advice


def training_source(
    run: RunSpec, stage: Stage, loader: DatasetLoader, split: str, digests: DataDigests | None = None
) -> EpisodeSource:
    """Return the episodes of training on `split`, or of validation for ``val``.

    Args:
        run: is trained.
        stage: of its training.
        loader: of the data.
        split: ``train``, ``train+val`` or ``val``.
        digests: name the sequence of episodes; None gives episodes only to try the protocol.

    Raises:
        UsageError: the protocol cannot draw such episodes.
    """
    protocol, dataset = run.trained_by, run.trained_on
    shape = _episode_shape(stage, split)
    params: dict[str, Any] = {**protocol.params, **{k: v for k, v in shape.items() if k in protocol.params}}
    parts = [] if digests is None else [digests.trained[part] for part in split.split("+")]
    # Not the way and query of the evaluation: the same training must come out whatever is measured with it.
    way, shot = (stage.way, stage.shot) if stage.is_episodic else (shape["way"], shape["shot"])
    own = {**defaults(protocol.spec), "shot": shot}
    named = {k: own[k] if k in ("way", "shot", "query") else value for k, value in protocol.params.items()}
    name = [ResolvedPlugin(protocol.spec, named).inputs(), *parts, split, run.seed, way, shot]
    classes, mask = loader.split(dataset, split), withheld_images(run, loader, split)
    with training_advice(stage, split, dataset.name):
        if mask is None:
            return EpisodeSource(_build_protocol(protocol, params), classes, name)
        return UnreservedSource(_build_protocol(protocol, params), classes, [name, run.reserve], mask)


@dataclass(frozen=True)
class MeasuredEpisodes:
    """The episodes that a run is measured on.

    Attributes:
        source: draws them.
        most: how many there are, or at most are where a rule may stop earlier.
    """

    source: EpisodeSource
    most: int


def measured_episodes(run: RunSpec, loader: DatasetLoader, digests: DataDigests | None = None) -> MeasuredEpisodes:
    """Return the episodes that a run is measured on.

    Args:
        run: says how many are wanted.
        loader: of the data.
        digests: name the sequence of episodes; None gives episodes only to try the protocol.

    Raises:
        UsageError: the protocol cannot draw such episodes.
    """
    name = None
    if digests is not None:
        name = [run.protocol.inputs(), digests.measured[run.split], run.split, run.episode_seed]
    protocol, split = _build_protocol(run.protocol, run.protocol.params), measured_split(run, loader)
    if isinstance(protocol, ListedProtocol):
        return MeasuredEpisodes(ListedSource(protocol, split, name), run.episodes)
    if run.sampling == "closed":
        return MeasuredEpisodes(EpisodeSource(protocol, split, name), run.episodes)
    source = DisjointSource(protocol, split, name, run.episodes)
    return MeasuredEpisodes(source, source.episodes)


def _episode_shape(stage: Stage, split: str) -> dict[str, int]:
    if split == "val":
        shot, query = stage.validation_shot or stage.shot, stage.validation_query or stage.query
        return {"way": stage.validation_way, "shot": shot, "query": query}
    return {"way": stage.way, "shot": stage.shot, "query": stage.query}


def _build_protocol(choice: ResolvedPlugin[ProtocolSpec], params: Mapping[str, Any]) -> EpisodeProtocol:
    """Return a protocol whose class has what its spec says."""
    protocol: EpisodeProtocol = load_target(choice.spec)(**params)
    metric = choice.spec.metric
    if isinstance(protocol, ValuedProtocol) != (metric != ACCURACY):
        has = "has" if isinstance(protocol, ValuedProtocol) else "lacks"
        raise UsageError(f"protocol '{choice.name}' says metric {metric}, but its class {has} values(outputs, truth)")
    return protocol
