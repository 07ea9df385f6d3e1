"""Base class of algorithms that adapt a network to each task (the MAML family), written for ONE task.

The harness runs many tasks at once, on threads or through `torch.func.vmap`; an algorithm cannot tell which.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from metabench.errors import UsageError
from metabench.models.embedding import autocast
from metabench.models.interfaces import Backbone, objective
from metabench.models.output_checks import OutputError, require_tensor
from metabench.models.second_order import quick_second_order
from metabench.models.task_context import context_now, training_episode
from metabench.models.task_norm import MODES, collect_statistics, forward_pass, replace_norms, running_averages

__all__ = [
    "TaskAdaptiveAlgorithm",
    "Weights",
    "gradient_step",
    "gradients",
    "require_at_least",
    "run_task",
    "run_update",
    "training_episode",
]

Weights = dict[str, Tensor]
"""Weights of a network by name."""


def gradients(loss: Callable[[Weights], Tensor], params: Weights, first_order: bool = False) -> Weights:
    """Return the gradient of ``loss(params)`` with respect to every entry of `params`.

    The gradient can be differentiated again (second order) where the harness trains; it cannot with
    `first_order`, and at evaluation, where no graph is kept.

    Args:
        loss: a function of weights alone that returns a scalar.
        params: the weights to differentiate by.
        first_order: treat the gradient as a constant.
    """
    context = context_now()
    constant = first_order or context.first_order or not torch.is_grad_enabled()
    if context.batched:
        slopes = torch.func.grad(loss)(params)
        return {name: slope.detach() for name, slope in slopes.items()} if constant else slopes
    with torch.enable_grad():
        if constant:
            params = {name: value.detach().requires_grad_() for name, value in params.items()}
        else:  # views: partial derivatives, also where one entry was computed from another
            params = {
                name: value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
                for name, value in params.items()
            }
        plain = constant or context.precision != "float32"
        with nullcontext() if plain else quick_second_order(next(iter(params.values())).device):
            value = loss(params)
        derivatives = torch.autograd.grad(value, list(params.values()), create_graph=not constant)
    return dict(zip(params, derivatives, strict=True))


def gradient_step(params: Weights, slopes: Mapping[str, Tensor], lr: float | Tensor) -> Weights:
    """Return `params` after one step of gradient descent; what `slopes` lacks stays as it is."""
    moving = [name for name in params if name in slopes]
    if isinstance(lr, Tensor) or context_now().batched or not moving:
        return {**params, **{name: params[name] - lr * slopes[name] for name in moving}}
    steps = torch._foreach_mul([slopes[name] for name in moving], lr)  # one call: each gives up the interpreter once
    moved = torch._foreach_sub([params[name] for name in moving], steps)
    return {**params, **dict(zip(moving, moved, strict=True))}


class TaskAdaptiveAlgorithm(nn.Module, ABC):
    """Algorithm that adapts a network to each task; constructed as ``Class(backbone, way, **params)``.

    A subclass writes `adapt` for ONE task, as a function of its arguments: it holds nothing between tasks. Meta-learned
    quantities of its own (learning rates, say) are `nn.Parameter`s of the module; `params` are those of
    the network, `backbone` and `classifier`. ``self.training`` tells meta-training from evaluation.

    Args:
        backbone: images to features; its batch norm layers are replaced by `metabench.models.task_norm.TaskNorm`.
        way: classes of a task, or how many numbers it predicts.
        bn: the statistics of batch normalisation, one of `metabench.models.task_norm.MODES`.
        bn_steps: inner steps with statistics of their own (``per-step``).
    """

    def __init__(self, backbone: Backbone, way: int, bn: str = "transductive", bn_steps: int = 1) -> None:
        super().__init__()
        if bn not in MODES:
            raise UsageError(f"bn is one of {', '.join(MODES)}, not '{bn}'")
        self.way, self.bn = way, bn
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.feature_dim, way)
        self.norms = tuple(replace_norms(self.backbone, bn, bn_steps, "backbone."))
        self._body = (self.backbone.for_adapting(),)  # a tuple: its parameters are those of `backbone`
        self._places: dict[str, list[tuple[dict[str, Any], str]]] | None = None

    @abstractmethod
    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Return the weights adapted to a task.

        Args:
            params: the weights to start from, see `start`.
            support: (S, C, H, W) images in [0, 1], or what else the backbone takes.
            labels: int64 (S,) in ``[0, way)``, or float (S, way) numbers; `interfaces.objective` fits both.
        """

    def predict(self, params: Weights, support: Tensor, labels: Tensor, query: Tensor, step: int = -1) -> Tensor:
        """Return the scores (Q, way) of queries (Q, C, H, W) by weights that `adapt` returned.

        Args:
            support, labels: the task's, as `adapt` had them.
            step: inner step after which this is (for ``per-step``); -1 is the last.
        """
        step = step if step >= 0 else self.steps_now() - 1
        if self.bn == "support":  # one pass over both, normalised as the support set alone would be
            both = torch.cat([support, query])
            return self.logits(params, both, step, support=len(support))[len(support) :]
        if self.bn == "single" and not self.training:  # in turn: a stack of such passes is slower, see benchmarks
            passes = (torch.cat([support, one[None]]) for one in query)
            return torch.cat([self.logits(params, images, step)[-1:] for images in passes])
        return self.logits(params, query, step)

    def task_loss(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> Tensor:
        """Return the meta-training loss of a task: that of the queries after `adapt` unless overridden."""
        params = self.adapt(self.start(), support, labels)
        return objective(self.predict(params, support, labels, query), truth)

    def update(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> tuple[Tensor, Weights] | None:
        """Return (loss, update) where the meta-update is not the gradient of `task_loss`; None where it is.

        The update is, for the name of a parameter, what the optimiser takes for its gradient, and for the name of
        a buffer its new value; both are averaged over the tasks of a batch. It is called without gradients.
        """
        return None

    def start(self) -> Weights:
        """Return the weights that every task starts from: those of `backbone` and `classifier`."""
        return {
            name: value
            for name, value in self.named_parameters()
            if value.requires_grad and name.startswith(("backbone.", "classifier."))
        }

    def steps_now(self) -> int:
        """Return the number of inner steps; a subclass with several says how many."""
        return 1

    def features(self, params: Weights, images: Tensor, step: int = 0, support: int = 0) -> Tensor:
        """Return the features (N, D) of images by the weights `params`; `support` as in `task_norm.Pass`."""
        # A cache would keep weights converted without gradients for where they are wanted.
        half = autocast(images.device, context_now().precision, cache=False)
        with forward_pass(step, support), self._weights_of_backbone(params), half:
            features = self._body[0](images)
        shape = (len(images), self.backbone.feature_dim)
        features = require_tensor(features, shape, f"backbone {type(self.backbone).__name__}", images.device)
        return features.to(torch.promote_types(features.dtype, torch.float32))

    @contextmanager
    def _weights_of_backbone(self, params: Weights) -> Iterator[None]:
        """Put `params` into the backbone, as `torch.func.functional_call` does in several times as long."""
        if self._places is None:
            self._places = places_of(self, "backbone.")
        replaced = [
            (*place, params[name]) for name, places in self._places.items() if name in params for place in places
        ]
        before = [held[key] for held, key, _ in replaced]
        try:
            for held, key, value in replaced:
                held[key] = value
            yield
        finally:
            for (held, key, _), value in zip(replaced, before, strict=True):
                held[key] = value

    def classify(self, params: Weights, features: Tensor) -> Tensor:
        """Return the scores (N, way) of features by the weights `params`."""
        return nn.functional.linear(features, params["classifier.weight"], params["classifier.bias"])

    def logits(self, params: Weights, images: Tensor, step: int = 0, support: int = 0) -> Tensor:
        """Return the scores (N, way) of images by the weights `params`."""
        return self.classify(params, self.features(params, images, step, support))

    def loss(self, params: Weights, images: Tensor, labels: Tensor, step: int = 0) -> Tensor:
        """Return the inner loss, a scalar: cross-entropy of `logits`, or where labels are numbers, squared error."""
        return objective(self.logits(params, images, step), labels)


def run_task(
    algorithm: TaskAdaptiveAlgorithm, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor
) -> tuple[Tensor, Weights]:
    """Return the meta-training loss of one task and the new values of buffers that move with it."""
    with collect_statistics() as seen:
        loss = algorithm.task_loss(support, labels, query, truth)
    require_tensor(loss, (), f"{type(algorithm).__name__}.task_loss", query.device)
    return loss, running_averages(list(algorithm.norms), seen)


def run_update(
    algorithm: TaskAdaptiveAlgorithm, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor
) -> tuple[Tensor, Weights]:
    """Return what `update` of the algorithm does, and the new values of buffers that move with the task."""
    with collect_statistics() as seen:
        result = algorithm.update(support, labels, query, truth)
    owner = f"{type(algorithm).__name__}.update"
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise OutputError(f"{owner} returned a {type(result).__name__}, expected a loss and a dictionary of updates")
    require_tensor(result[0], (), owner, query.device)
    held = dict(algorithm.named_parameters()) | dict(algorithm.named_buffers())
    for name, value in result[1].items():
        if name not in held:
            raise OutputError(f"{owner} returned an update of '{name}', which is no parameter or buffer")
        require_tensor(value, tuple(held[name].shape), f"{owner}['{name}']", query.device)
    return result[0], result[1] | running_averages(list(algorithm.norms), seen)


def places_of(network: nn.Module, prefix: str) -> dict[str, list[tuple[dict[str, Any], str]]]:
    """Return where parameters and buffers are held whose names start with `prefix`: in several places where tied."""
    held_in: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for module in network.modules():
        for held in (module._parameters, module._buffers):
            for key, value in held.items():
                held_in.setdefault(id(value), []).append((held, key))
    named = (*network.named_parameters(), *network.named_buffers())
    return {name: held_in[id(value)] for name, value in named if name.startswith(prefix)}


def require_at_least(name: str, value: float, least: float) -> None:
    """Raise UsageError where a parameter is too small."""
    if not value >= least:
        raise UsageError(f"algo.{name} must be at least {least}, not {value}")
