"""The weights of an algorithm: building, freezing to a file, reading back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from metabench.errors import UsageError
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.interfaces import Backbone, FeatureHead
from metabench.models.output_checks import OutputError
from metabench.runtime.memory import out_of_memory

M = TypeVar("M")


class NoFeatureMap(UsageError):
    """The features of a backbone are no map, and a head reads maps."""


class Model(nn.Module):
    """The weights of an algorithm on features: `backbone` and `head`.

    Attributes:
        item_shape: of an item as the head reads it: (D,) of vectors, (C, H, W) of maps.
        way: number of classes that the head is made for; 0: any.
    """

    def __init__(self, backbone: Backbone, head: FeatureHead, item_shape: tuple[int, ...] = (), way: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.item_shape = item_shape or (backbone.feature_dim,)
        self.way = way


class Embedded(Backbone):
    """Stand-in for a frozen backbone whose features are the items.

    Constructed as ``Embedded(shape, outputs, map_shape)`` with `shape` = (numbers,) of an item as `embedding.embed`
    makes them: its features, of the backbone's `map_shape`, and the `outputs` numbers that are to be predicted of it.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int = 0, map_shape: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.outputs, self.feature_dim, self.map_shape = outputs, shape[0] - outputs, map_shape

    def inputs(self, items: Tensor) -> Tensor:
        """Return the features, float32 (N, feature_dim)."""
        return items[:, : self.feature_dim]

    def targets(self, items: Tensor) -> Tensor:
        """Return the numbers (N, outputs) that are to be predicted."""
        return items[:, self.feature_dim :]

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, feature_dim) as they are."""
        return features


def build_frozen(backbone: type[Backbone], params: Mapping[str, Any], item_shape: tuple[int, ...]) -> Backbone:
    """Build a frozen backbone; its random parts are the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _checked(_made(backbone, params, item_shape), item_shape).eval()


def _made(kind: Callable[..., M], params: Mapping[str, Any], *arguments: Any) -> M:
    """Construct a plugin; what it does not take is the user's to change."""
    try:
        return kind(*arguments, **params)
    except (ValueError, RuntimeError) as error:  # torch raises either
        if out_of_memory(error):
            raise
        given = ", ".join(f"{name}={value}" for name, value in params.items())
        what, why = getattr(kind, "__name__", "it"), str(error)[:200] or type(error).__name__
        raise UsageError(f"cannot construct {what}({given}): {why}. Change the value passed with --set.") from error


def _checked(body: Backbone, item_shape: tuple[int, ...]) -> Backbone:
    if body.feature_dim < 1:
        raise UsageError(f"{type(body).__name__} has no features left of items of shape {item_shape}")
    if body.map_shape is not None and math.prod(body.map_shape) != body.feature_dim:
        raise OutputError(f"{type(body).__name__} has maps {body.map_shape} and {body.feature_dim} features")
    return body


def build_model(
    backbone: type[Backbone],
    backbone_params: Mapping[str, Any],
    head: type[FeatureHead] | type[TaskAdaptiveAlgorithm],
    head_params: Mapping[str, Any],
    item_shape: tuple[int, ...],
    seed: int,
    way: int = 0,
    *,
    reads: str = "vectors",
    ways: str = "any",
) -> Model | TaskAdaptiveAlgorithm:
    """Build on the CPU with weights that depend on `seed` alone; the global random state is left as it was.

    Args:
        head: a `FeatureHead`, or an `TaskAdaptiveAlgorithm` for tasks of `way` classes.
        reads: ``vectors`` or ``maps``: what the head is given.
        ways: ``any``, or ``one`` for a head that is made for tasks of `way` classes.

    Raises:
        NoFeatureMap: the head reads maps, and the features of the backbone are none.
        UsageError: parameters that a constructor refuses.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _checked(_made(backbone, backbone_params, item_shape), item_shape)
        if issubclass(head, TaskAdaptiveAlgorithm):
            return _made(head, head_params, body, body.outputs or way)
        fixed = {"way": way} if ways == "one" else {}
        params = {**head_params, **fixed}
        if reads == "vectors":
            return Model(body, _made(head, params, body.feature_dim), way=fixed.get("way", 0))
        if body.map_shape is None:
            raise NoFeatureMap(f"the features of {type(body).__name__} are no map, and {head.__name__} reads maps")
        return Model(body, _made(head, params, body.map_shape), body.map_shape, fixed.get("way", 0))
