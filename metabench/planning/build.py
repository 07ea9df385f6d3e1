"""Third step of planning: the runs of one combination, for every way, shot and training seed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import UsageError
from metabench.planning.combine import Combination
from metabench.planning.compatibility import incompatibility, missing_base, missing_views
from metabench.planning.resolve import PlanRequest, resolve_plugin
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.planning.training_chain import refuse_trained_on, training_chain
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import SAME_CLASSES, AlgorithmSpec, BackboneSpec, DatasetSpec
from metabench.registry.stage import Chain, chain_params
from metabench.utils.hashing import file_sha256
from metabench.utils.weight_files import require_weights_file


@dataclass(frozen=True)
class _Parts:
    """The parts of a combination that do not depend on way and shot."""

    backbone: ResolvedPlugin[BackboneSpec]
    dataset: ResolvedPlugin[DatasetSpec]
    trained_on: ResolvedPlugin[DatasetSpec]
    learned: AlgorithmSpec
    """The algorithm that is trained."""

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
    parts = _resolve_parts(request, combination, registry)
    selection, algorithm = request.selection, combination.algorithm.spec
    specs = algorithm, combination.backbone.spec, combination.source.spec
    incompatible = incompatibility(request.protocol, (combination.dataset.spec, selection.split), specs, registry)
    ways = selection.ways if request.has_ways else (0,)
    for way, shot in itertools.product(ways, selection.shots):
        stages, problem = _stages(request, combination, parts, (way, shot))
        run = _run(request, combination, parts, (way, shot), stages)
        problem = incompatible or problem or missing_base(run) or missing_views(run)
        for seed in selection.seeds if stages else (0,):
            seeded = dataclasses.replace(run, seed=seed, checkpoint_sha256=checkpoint_sha256)
            yield RejectedRun(seeded, problem) if problem else seeded


def _resolve_parts(request: PlanRequest, combination: Combination, registry: Registry) -> _Parts:
    settings, algorithm = request.settings, combination.algorithm.spec
    shared: dict[str, Value] = {SAME_CLASSES: True} if request.protocol.support else {}
    (backbone, of_backbone), (dataset, of_data) = combination.backbone, combination.dataset
    source, of_source = combination.source
    return _Parts(
        _resolve_backbone(backbone, {**settings["backbone"], **of_backbone}, combination.weights),
        resolve_plugin(dataset, {**settings["data"], **of_data, **shared}),
        resolve_plugin(source, {**settings["data"], **of_source, **shared}),
        registry.find("algorithm", algorithm.trained_as) if algorithm.trained_as else algorithm,
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
    backbone, source = combination.backbone.spec, combination.source.spec
    if combination.algorithm.spec.trained_as and not backbone.trains:
        return (), None  # only the backbone would be trained
    stages: Chain = ()
    try:
        stages = training_chain(parts.learned, backbone, source, shape, request.stage_overrides)
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
    published = parts.learned.recipe(source.name, *shape, source.kind)
    own_params = {} if algorithm.trained_as else chain_params(published)
    chosen = resolve_plugin(algorithm, {**own_params, **settings["algo"], **own})
    learns = bool(stages) or "base" in algorithm.uses_with(chosen.params)
    cell: dict[str, Value] = {"way": shape[0], "shot": shape[1]}
    cell |= {} if selection.query is None else {"query": selection.query}
    other_protocol = bool(stages) and request.training_protocol is not request.protocol
    return RunSpec(
        algorithm=chosen,
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
        source=None if parts.is_in_domain or not learns else parts.trained_on,
        training_protocol=resolve_plugin(request.training_protocol, cell) if other_protocol else None,
        trained_as=resolve_plugin(parts.learned, chain_params(published)) if stages and algorithm.trained_as else None,
    )
