"""Gradients in evaluation: enabled for heads that need them, and nothing of them is left."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from torch import Tensor, nn

from metabench.models.episode import Episode
from metabench.models.head_scores import head_loss, head_scores
from metabench.models.interfaces import FeatureHead


class Descending(FeatureHead):
    """Takes a gradient step on its weight and returns scores that depend on it."""

    needs_grad = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.seen: list[tuple[bool, bool, bool]] = []

    def logits(self, episode: Episode) -> Tensor:
        parts = episode.support, episode.labels, episode.query
        self.seen.append(
            (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), any(part.is_inference() for part in parts))
        )
        (self.scale * episode.support).square().mean().backward()
        assert self.scale.grad is not None
        scores = (self.scale - self.scale.grad) * episode.query
        self.graph = weakref.ref(scores)
        return scores


def episode() -> Episode:
    return Episode(torch.ones(1, 2, 2), torch.tensor([[0, 1]]), torch.ones(1, 3, 2), 2)


@pytest.mark.parametrize("inference", [True, False])
def test_gradients_are_enabled_and_end_with_the_scores(inference: bool) -> None:
    head = Descending()
    with torch.inference_mode(inference), torch.no_grad():
        scores = head_scores(head, episode())
        assert torch.is_inference_mode_enabled() == inference and not torch.is_grad_enabled()
    assert head.seen == [(True, False, False)]
    assert scores.tolist() == [[[-2.0, -2.0]] * 3]  # 2 - the slope of (2 x)^2 at x = 1
    assert not scores.requires_grad and scores.grad_fn is None
    gc.collect()
    assert head.graph() is None


def test_a_loss_in_evaluation_may_need_gradients_too() -> None:
    head = Descending()
    with torch.inference_mode():
        loss = head_loss(head, episode(), torch.tensor([[0, 1, 0]]))
    assert head.seen == [(True, False, False)] and loss.grad_fn is None
    assert float(loss) == pytest.approx(math.log(2))


def test_the_gradients_of_the_weights_are_as_before() -> None:
    head = Descending()
    for before in (None, torch.tensor(5.0)):
        head.scale.grad = before
        head_scores(head, episode())
        assert head.scale.grad is before


def test_other_heads_get_no_gradients() -> None:
    class Plain(FeatureHead):
        def logits(self, episode: Episode) -> Tensor:
            assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
            return episode.query

    with torch.inference_mode():
        assert torch.equal(head_scores(Plain(), episode()), torch.ones(1, 3, 2))
