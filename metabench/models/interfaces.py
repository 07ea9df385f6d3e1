"""Base classes of algorithms on features and of backbones (torch); the specs stay free of torch."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metabench.models.episode import Episode
from metabench.models.output_checks import require_tensor
from metabench.models.task_context import context_now


class Backbone(nn.Module, ABC):
    """Network that maps images, or other items, to feature vectors.

    Constructed as ``Class(item_shape, **params)`` with `item_shape` = (channels, height, width) of images.
    ``forward`` maps what `inputs` makes of them, float images (N, C, H, W) in [0, 1] unless overridden, to features
    (N, `feature_dim`).
    """

    feature_dim: int
    map_shape: tuple[int, int, int] | None = None
    """(C, H, W) where the feature vector is a flattened feature map, C * H * W == `feature_dim`; None where it is
    none. Algorithms that read maps need one. Where a parameter decides it, call it ``pool``, and let False give maps:
    messages then name it."""
    outputs: int = 0
    """Number of values to predict for an item; 0 where its class is predicted."""

    def inputs(self, items: Tensor) -> Tensor:
        """Return the input of `forward` for a dataset's items, uint8 (N, H, W, C), or (N, bytes) of text.

        Preprocess raw items (resize, normalise, tokenise) here. There must be no learnable parameters.
        """
        return normalise(items)

    def targets(self, items: Tensor) -> Tensor:
        """Return the numbers (N, `outputs`) that are to be predicted of a dataset's items."""
        raise NotImplementedError(f"{type(self).__name__} predicts no numbers")

    def for_training(self) -> nn.Module:
        """Return an equivalent module for training by first-order gradients, possibly fused.

        Its parameters and buffers are those of `self`. It is used in training mode, on images that need no gradient.
        """
        return self

    def for_adapting(self) -> nn.Module:
        """Return an equivalent module for algorithms that adapt to each task, possibly fused.

        Its parameters and buffers are those of `self`, whose batch norm layers are `task_norm.TaskNorm` by then.
        It is differentiated as often as `self` can be, but not by the images.
        """
        return self

    def for_inference(self) -> nn.Module:
        """Return an equivalent module for evaluation only, possibly fused; `self` is left as it is."""
        return self


class FeatureHead(nn.Module, ABC):
    """Algorithm that works on features; constructed as ``Class(feature_dim, **params)``.

    With ``reads="maps"`` in its spec it is constructed as ``Class(map_shape, **params)``, `map_shape` = (C, H, W), and
    with ``ways="one"`` with the keyword ``way`` besides. It must hold no state between episodes. The harness embeds,
    batches, trains and scores.
    """

    needs_grad: ClassVar[bool] = False
    """`logits` takes gradients in evaluation too, as of what it adapts to an episode. They are enabled for it then."""

    def __init__(self) -> None:
        super().__init__()
        if type(self).study is not FeatureHead.study:
            self.register_buffer("_place", torch.empty(0), persistent=False)  # is on the device of the head
            self.register_load_state_dict_pre_hook(_make_room)  # type: ignore[no-untyped-call]

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise TypeError for a method that takes the parts of an episode one by one, which it did once."""
        super().__init_subclass__(**options)
        for name, parameters in (("logits", "episode"), ("loss", "episode, query_labels")):
            if "support" in inspect.signature(getattr(cls, name)).parameters:
                raise TypeError(
                    f"{cls.__name__}.{name} takes the parts of an episode; write {name}(self, {parameters}), with "
                    "episode.support, episode.labels, episode.query and episode.way"
                )

    @abstractmethod
    def logits(self, episode: Episode) -> Tensor:
        """Return logits for the queries. Query labels are not available here.

        Args:
            episode: support (B, S, D) with labels (B, S), and queries (B, Q, D).

        Returns:
            (B, Q, way), larger is likelier; equal largest scores are broken at random by the harness.
        """

    def study(self, features: Tensor, classes: Tensor) -> None:
        """Fill buffers from the training classes, once, after training; for algorithms with ``uses=("base",)``.

        What is kept are buffers, copies of their own: registered in the constructor, or here. Their size may depend on
        the data, and a checkpoint of another size can be loaded. While the head is trained they are as constructed.

        Args:
            features: (N, D) of the training split, or maps (N, C, H, W).
            classes: int64 (N,), from 0 to one less than their number.
        """

    def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
        """Return the training loss, a scalar: the mean cross-entropy of `logits` unless overridden.

        Args:
            episode: as in `logits`.
            query_labels: int64 (B, Q) in ``[0, way)``.
        """
        scores, way, query = self.logits(episode), episode.way, episode.query
        require_tensor(scores, (*query.shape[:2], way), f"{type(self).__name__}.logits", query.device)
        smoothing = context_now().label_smoothing
        return nn.functional.cross_entropy(scores.reshape(-1, way), query_labels.reshape(-1), label_smoothing=smoothing)


def studied_buffers(head: FeatureHead, names: Iterable[str], prefix: str = "") -> list[str]:
    """Return which of `names` are buffers of the head, or would be, that its study fills; not of its parts.

    Args:
        names: of tensors in a file.
        prefix: of the names of the head.
    """
    if type(head).study is FeatureHead.study:
        return []
    own = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    buffers = {name for name, _ in head.named_buffers(recurse=False)}
    return [prefix + name for name in own if "." not in name and (name in buffers or not hasattr(head, name))]


def _make_room(head: FeatureHead, tensors: Mapping[str, Tensor], prefix: str, *options: Any) -> None:
    """Give the buffers that study fills the sizes that they have in `tensors`, which are about to be loaded."""
    for name in studied_buffers(head, tensors, prefix):
        empty = torch.empty_like(tensors[name], device=head.get_buffer("_place").device)
        head.register_buffer(name.removeprefix(prefix), empty)


def decode_numbers(items: Tensor) -> Tensor:
    """Return the float32 numbers (N, D) in items of functions, uint8 (N, 4 D), little-endian."""
    return items.contiguous().view(torch.float32)


def objective(outputs: Tensor, truth: Tensor, reduction: str = "mean") -> Tensor:
    """Return the loss of a task: cross-entropy of labels, or squared error of numbers.

    Args:
        outputs: (N, way) scores, or (N, D) predicted numbers.
        truth: int64 (N,) labels in ``[0, way)``, or float (N, D) numbers.
        reduction: ``mean``, or ``none``.
    """
    if truth.is_floating_point():
        require_tensor(outputs, tuple(truth.shape), "the algorithm", truth.device)  # the loss would broadcast
        return nn.functional.mse_loss(outputs, truth, reduction=reduction)
    return nn.functional.cross_entropy(outputs, truth, reduction=reduction)


def normalise(images: Tensor) -> Tensor:
    """Return uint8 (N, H, W, C) as float32 (N, C, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)
