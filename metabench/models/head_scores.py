"""Scores and loss of a head in evaluation, with gradients for heads that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from metabench.models.episode import Episode
from metabench.models.interfaces import FeatureHead


def head_scores(head: FeatureHead, episode: Episode) -> Tensor:
    """Return the scores (B, Q, way) of a head, unchecked.

    Where it needs gradients they are enabled, and its episode is made of ordinary tensors. The graph ends here.
    """
    return _evaluated(head, head.logits, episode)


def head_loss(head: FeatureHead, episode: Episode, query_labels: Tensor) -> Tensor:
    """Return the loss of a head in evaluation, unchecked, in the same way as `head_scores`."""
    return _evaluated(head, head.loss, episode, query_labels)


def _evaluated(head: FeatureHead, method: Callable[..., Tensor], episode: Episode, *more: Tensor) -> Tensor:
    if not head.needs_grad:
        return method(episode, *more)
    with _gradients(head):
        parts: dict[str, Any] = {n: _ordinary(part) for n, part in vars(episode).items() if isinstance(part, Tensor)}
        result = method(replace(episode, **parts), *map(_ordinary, more))
        return result.detach() if isinstance(result, Tensor) else result


@contextmanager
def _gradients(module: nn.Module) -> Iterator[None]:
    """Enable gradients, in inference mode too; those of the weights are afterwards as they were."""
    weights = list(module.parameters())
    before = [weight.grad for weight in weights]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for weight in weights:
                weight.grad = None
            yield
    finally:
        for weight, gradient in zip(weights, before, strict=True):
            weight.grad = gradient


def _ordinary(tensor: Tensor) -> Tensor:
    """Return a tensor that gradients can be taken through: a copy of one from inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor
