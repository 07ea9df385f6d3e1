"""Building a learner from an algorithm and a backbone, and checking it before a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.base import Learner
from metabench.learners.feature_learner import FeatureLearner
from metabench.learners.views import VIEWS
from metabench.models.assembly import Embedded, Model, NoFeatureMap, build_frozen, build_model
from metabench.models.checkpoints import STUDIED, load_body, load_weights
from metabench.models.embedding import embedded_width
from metabench.models.nearest_unit_mean import NearestUnitMean
from metabench.planning.run_spec import RunSpec
from metabench.registry.registry import load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import AlgorithmSpec, BackboneSpec
from metabench.registry.stage import Stage
from metabench.runtime.memory_budget import MemoryBudget


def make_run_learner(run: RunSpec, item_shape: tuple[int, ...], device: torch.device) -> Learner:
    """Return the learner of a run, with weights that depend on its seed alone.

    Args:
        run: its protocol says how many classes a task has.
        item_shape: (channels, height, width) of images, see `metabench.data.ClassSplit.item_shape`.
        device: holds the weights.

    Raises:
        UsageError: the algorithm's class is not of the kind that its spec says.
    """
    return _make(run, run.algorithm, item_shape, device)


def make_training_learner(run: RunSpec, item_shape: tuple[int, ...], device: torch.device) -> Learner:
    """Return the learner that an episodic stage of a run trains; arguments as those of `make_run_learner`."""
    return _make(run, (run.trained_as or run.algorithm).as_trained, item_shape, device)


def make_class_learner(run: RunSpec, item_shape: tuple[int, ...], device: torch.device) -> FeatureLearner:
    """Return the learner that validates a stage of classes of a run; arguments as those of `make_run_learner`."""
    backbone = run.backbone
    model = build_model(load_target(backbone.spec), backbone.params, NearestUnitMean, {}, item_shape, run.seed).to(
        device
    )
    assert isinstance(model, Model)
    if backbone.weights is not None:
        load_body(model.backbone, backbone.weights)
    learner = FeatureLearner(model, run.precision)
    learner.algorithm, learner.backbone = "the validation of classes", f"backbone '{backbone.name}'"
    learner.inductive = True
    return learner


def _make(
    run: RunSpec, algorithm: ResolvedPlugin[AlgorithmSpec], item_shape: tuple[int, ...], device: torch.device
) -> Learner:
    way = int(run.protocol.params.get("way", 0))
    return make_learner(algorithm, run.backbone, item_shape, device, way=way, seed=run.seed, precision=run.precision)


def make_learner(
    algorithm: ResolvedPlugin[AlgorithmSpec],
    backbone: ResolvedPlugin[BackboneSpec],
    item_shape: tuple[int, ...],
    device: torch.device,
    *,
    way: int,
    seed: int = 0,
    precision: str = "float32",
) -> Learner:
    """Return a learner with weights that depend on `seed` alone.

    A backbone that has nothing to learn stays outside of the model, as `Learner.frozen`, and features take its place.

    Args:
        algorithm: with its parameters.
        backbone: with its parameters, and its weights if it has any.
        item_shape: (channels, height, width) of images, see `metabench.data.ClassSplit.item_shape`.
        device: holds the weights.
        way: classes of a task, for what is made for one number of them; 0 where there is none.
        seed: of the initial weights.
        precision: of the network.

    Raises:
        UsageError: the algorithm's class is not of the kind that its spec says, or it reads maps and there are none.
    """
    spec, backbone_spec = algorithm.spec, backbone.spec
    body, frozen = load_target(backbone_spec), None
    params: Mapping[str, Any] = backbone.params
    if not backbone_spec.trains:
        frozen = build_frozen(body, params, item_shape).to(device)
        if backbone.weights is not None:
            load_body(frozen, backbone.weights)
        body, params = Embedded, {"outputs": frozen.outputs, "map_shape": frozen.map_shape}
        item_shape = (embedded_width(frozen),)
    try:
        model = build_model(
            body, params, load_target(spec), algorithm.params, item_shape, seed, way, reads=spec.reads, ways=spec.ways
        )
    except NoFeatureMap:
        raise UsageError(_no_map(algorithm, backbone)) from None
    model = model.to(device)
    if backbone.weights is not None and frozen is None:
        load_body(model.backbone, backbone.weights)
    if isinstance(model, Model) != (spec.takes == "features"):
        wanted = "a FeatureHead" if spec.takes == "features" else "a TaskAdaptiveAlgorithm"
        raise UsageError(f"algorithm '{spec.name}' takes {spec.takes}, so its class must be {wanted}")
    learner: Learner
    if isinstance(model, Model):
        learner = FeatureLearner(model, precision, frozen)
        learner.views = VIEWS if "views" in spec.uses_with(algorithm.params) else 0
    else:
        learner = AdaptiveLearner(model, precision, frozen=frozen, device=device)
    learner.algorithm, learner.backbone = f"algorithm '{algorithm.name}'", f"backbone '{backbone.name}'"
    learner.studies = "base" in spec.uses_with(algorithm.params)
    learner.inductive = spec.setting_with(algorithm.params) == "inductive"
    return learner


def _no_map(algorithm: ResolvedPlugin[AlgorithmSpec], backbone: ResolvedPlugin[BackboneSpec]) -> str:
    """Return what to say of an algorithm that reads maps on a backbone without them."""
    remedies = ["--set backbone.pool=false"] if backbone.params.get("pool") is True else []
    remedies += [f"--backbone {algorithm.spec.backbone}"] if algorithm.spec.backbone != backbone.spec.name else []
    return (
        f"cannot run {algorithm.name} on backbone '{backbone.name}': it reads feature maps, and the features of this "
        f"backbone are none. Use {' or '.join(remedies) or 'another --backbone'}."
    )


def load_checkpoint(learner: Learner, path: Path) -> dict[str, Any]:
    """Load a file of weights into a learner and return its meta data.

    Raises:
        UsageError: it does not fit, or the learner needs statistics of base classes and it holds none.
    """
    meta = load_weights(learner.module, path)
    if learner.studies and not meta.get(STUDIED):
        raise UsageError(
            f"cannot use checkpoint {path}: {learner.algorithm} needs statistics of base classes, and it holds none. "
            "Use the weights of a run of this algorithm with these parameters."
        )
    return meta


def check_learner(
    run: RunSpec, learner: Learner, stage: Stage | None, source: EpisodeSource, memory: MemoryBudget
) -> str:
    """Return what `Learner.check` says of the learner of a run, on the episodes and images of `source`.

    Raises:
        UsageError: the learner cannot be trained or scored; names algorithm and backbone.
    """
    try:
        return learner.check(stage, source, source.split.images, memory)
    except UsageError as error:
        raise UsageError(f"{run.algorithm.name} on backbone '{run.backbone.name}' {error}") from error
