"""From the names of an algorithm and a backbone to a learner, on its device."""

from __future__ import annotations

import torch

from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.base import Learner
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Embedded, Model, build_frozen, build_model
from metabench.models.checkpoints import load_body
from metabench.models.embedding import embedded_width
from metabench.registry.registry import load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import AlgorithmSpec, BackboneSpec


def make_learner(
    algorithm: ResolvedPlugin,
    backbone: ResolvedPlugin,
    item_shape: tuple[int, ...],
    seed: int,
    way: int,
    device: torch.device,
    precision: str = "float32",
    max_memory: int = 0,
) -> Learner:
    """Build with weights that depend on `seed` alone.

    A backbone that has nothing to learn stays outside of the model, as `Learner.frozen`, and features take its place.

    Args:
        item_shape: (channels, height, width) of images, see `metabench.data.ClassSplit.item_shape`.
        way: classes of a task, for a network with a classifier; 0 where there is none.
        max_memory: bytes that tasks may take; 0: what there is.

    Raises:
        UsageError: the algorithm's class is not of the kind that its spec says.
    """
    spec, of_body = algorithm.spec, backbone.spec
    assert isinstance(spec, AlgorithmSpec)
    assert isinstance(of_body, BackboneSpec)
    body, params, frozen = load_target(of_body), backbone.params, None
    if not of_body.trains:
        frozen = build_frozen(body, params, item_shape).to(device)
        if backbone.weights is not None:
            load_body(frozen, backbone.weights)
        body, params, item_shape = Embedded, {"outputs": frozen.outputs}, (embedded_width(frozen),)
    model = build_model(body, params, load_target(spec), algorithm.params, item_shape, seed, way).to(device)
    if backbone.weights is not None and frozen is None:
        load_body(model.backbone, backbone.weights)
    if isinstance(model, Model) != (spec.takes == "features"):
        wanted = "a FeatureHead" if spec.takes == "features" else "a TaskAdaptiveAlgorithm"
        raise UsageError(f"algorithm '{spec.name}' takes {spec.takes}, so its class must be {wanted}")
    learner: Learner
    if isinstance(model, Model):
        learner = FeatureLearner(model, precision, frozen)
    else:
        learner = AdaptiveLearner(model, precision, max_memory, frozen=frozen, device=device)
    learner.algorithm, learner.backbone = f"algorithm '{algorithm.name}'", f"backbone '{backbone.name}'"
    learner.inductive = spec.setting_with(algorithm.params) == "inductive"
    return learner
