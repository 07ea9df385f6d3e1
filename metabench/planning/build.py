"""Third step of planning: the runs of one combination, for every way, shot and training seed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import UsageError
from metabench.planning.combine import Combination
from metabench.planning.compatibility import incompatibility
from metabench.planning.resolve import PlanRequest, resolve_plugin
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.planning.training_chain import refuse_trained_on, training_chain
from metabench.registry.params import Value
from metabench.registry.stage import Chain, chain_params
from metabench.registry.registry import Registry
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import SAME_CLASSES, BackboneSpec, DatasetSpec
from metabench.utils.hashing import file_sha256
from metabench.utils.weight_files import require_weights_file


@dataclass(frozen=True)
class _Parts:
    """The parts of a combination that do not depend on way and shot."""

    backbone: ResolvedPlugin[BackboneSpec]
    dataset: ResolvedPlugin[DatasetSpec]
    trained_on: ResolvedPlugin[DatasetSpec]

    @property
    def is_in_domain(self) -> bool:
        """The measured dataset is also the training dataset."""
        return self.trained_on.identity == self.dataset.identity


def checkpoint_digest(path: Path | None) -> str:
    """Return the SHA-256 of a checkpoint; '' where none is given.

    Raises:
        MissingError: the file is not there. UsageError: it is no file of weights.
    """
    if path is None:
        return ""
    require_weights_file(path, f"no checkpoint at {path}; --checkpoint takes a .safetensors file")
    return file_sha256(path)


def build_runs(
    request: PlanRequest, combination: Combination, checkpoint_sha256: str, registry: Registry
) -> Iterator[Planned]:
    """Yield the runs of a combination in the order way, shot, seed; incompatible ones as `RejectedRun`.

    Raises:
        UsageError: a bad parameter value.
        MissingError: a file of weights is not there.
    """
    parts = _resolve_parts(request, combination)
    selection, algorithm = request.selection, combination.algorithm.spec
    specs = algorithm, combination.backbone.spec, combination.source.spec
    incompatible = incompatibility(request.protocol, (combination.dataset.spec, selection.split), specs, registry)
    ways = selection.ways if request.has_ways else (0,)
    for way, shot in itertools.product(ways, selection.shots):
        stages, problem = _stages(request, combination, parts, (way, shot))
        problem = incompatible or problem
        run = _run(request, combination, parts, (way, shot), stages)
        for seed in selection.seeds if stages else (0,):
            seeded = dataclasses.replace(run, seed=seed, checkpoint_sha256=checkpoint_sha256)
            yield RejectedRun(seeded, problem) if problem else seeded


def _resolve_parts(request: PlanRequest, combination: Combination) -> _Parts:
    settings = request.settings
    shared: dict[str, Value] = {SAME_CLASSES: True} if request.protocol.support else {}
    (backbone, of_backbone), (dataset, of_data) = combination.backbone, combination.dataset
    source, of_source = combination.source
    return _Parts(
        _resolve_backbone(backbone, {**settings["backbone"], **of_backbone}, combination.weights),
        resolve_plugin(dataset, {**settings["data"], **of_data, **shared}),
        resolve_plugin(source, {**settings["data"], **of_source, **shared}),
    )


def _resolve_backbone(
    spec: BackboneSpec, settings: Mapping[str, Value], weights: Path | None
) -> ResolvedPlugin[BackboneSpec]:
    """Return a backbone with its parameters and, unless it has a parameter for them, a file of weights."""
    backbone = resolve_plugin(spec, settings)
    if weights is None or "weights" in backbone.params:
        return backbone
    require_weights_file(weights, f"no weights at {weights}; --set backbone.weights takes a .safetensors file")
    trained_on = str(settings.get("trained_on", "unknown"))
    return dataclasses.replace(backbone, weights=weights, weights_sha256=file_sha256(weights), trained_on=trained_on)


def _stages(
    request: PlanRequest, combination: Combination, parts: _Parts, shape: tuple[int, int]
) -> tuple[Chain, UsageError | None]:
    """Return the stages of training, none where nothing is trained, and why they cannot be done."""
    if request.selection.checkpoint is not None:
        return (), None
    specs = combination.algorithm.spec, combination.backbone.spec, combination.source.spec
    stages: Chain = ()
    try:
        stages = training_chain(*specs, shape, request.stage_overrides)
        refuse_trained_on(stages if parts.is_in_domain else (), request.selection.split)
    except UsageError as error:
        return stages, error
    return stages, None


def _run(
    request: PlanRequest,
    combination: Combination,
    parts: _Parts,
    shape: tuple[int, int],
    stages: Chain,
) -> RunSpec:
    """Return the run of one way and shot, with seed 0."""
    selection, settings = request.selection, request.settings
    (algorithm, own), source = combination.algorithm, combination.source.spec
    published = algorithm.recipe(source.name, *shape, source.kind)
    cell: dict[str, Value] = {"way": shape[0], "shot": shape[1]}
    cell |= {} if selection.query is None else {"query": selection.query}
    other_protocol = bool(stages) and request.training_protocol is not request.protocol
    return RunSpec(
        algorithm=resolve_plugin(algorithm, {**chain_params(published), **settings["algo"], **own}),
        backbone=parts.backbone,
        dataset=parts.dataset,
        protocol=resolve_plugin(request.protocol, {**settings["protocol"], **cell}),
        episodes=request.episodes,
        episode_seed=selection.episode_seed,
        sampling=selection.sampling,
        stop=request.stop,
        precision=selection.precision,
        stages=stages,
        seed=0,
        checkpoint=selection.checkpoint if algorithm.trains else None,
        checkpoint_sha256="",
        split=selection.split,
        source=None if parts.is_in_domain or not stages else parts.trained_on,
        training_protocol=resolve_plugin(request.training_protocol, cell) if other_protocol else None,
    )
