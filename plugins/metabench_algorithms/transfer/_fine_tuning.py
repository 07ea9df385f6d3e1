"""Fitting a linear classifier to the support of many episodes at once by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

EPOCHS, BATCH = 100, 4
LR, MOMENTUM, DAMPENING, WEIGHT_DECAY = 0.01, 0.9, 0.9, 0.001


def fit(support: Tensor, labels: Tensor, way: int, scale: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return class weights (B, way, D) and intercepts (B, way) as Chen et al. (2019) fit them, in finetune.py.

    100 epochs over the support in batches of 4, SGD with momentum 0.9, dampening 0.9 and weight decay 0.001. The first
    weights and the order of the batches are random, but the same in every episode.

    Args:
        support: (B, S, D) features, of length 1 for cosines.
        labels: int64 (B, S).
        way: number of classes.
        scale: of the cosines of features and weights, which then have no intercept; 0: scores are linear.
    """
    generator = torch.Generator().manual_seed(0)
    bound = support.shape[-1] ** -0.5  # as torch.nn.Linear begins
    weights, intercept = (
        (2 * torch.rand(shape, generator=generator) - 1).mul_(bound).to(support).expand(len(support), *shape).clone()
        for shape in ((way, support.shape[-1]), (way,))
    )
    basis, support, weights = _in_span(support, weights)
    targets = F.one_hot(labels, way).to(support.dtype)
    velocity: list[Tensor] = []
    for rows in _batches(support.shape[1], generator):
        features, wanted = support[:, rows], targets[:, rows]
        if scale:
            lengths = weights.norm(dim=-1, keepdim=True)
            unit = weights / lengths
            error = _error(scale * features @ unit.mT, wanted)
            pull = scale * error.mT @ features
            steps = [(pull - (pull * unit).sum(-1, keepdim=True) * unit) / lengths]  # only along the sphere
        else:
            error = _error(features @ weights.mT + intercept[:, None], wanted)
            steps = [error.mT @ features, error.sum(1)]
        parts = (weights, intercept)[: len(steps)]
        steps = [step.add_(part, alpha=WEIGHT_DECAY) for step, part in zip(steps, parts, strict=True)]
        if velocity:  # the first step is not dampened
            steps = [v.mul_(MOMENTUM).add_(step, alpha=1 - DAMPENING) for v, step in zip(velocity, steps, strict=True)]
        velocity = steps
        for part, step in zip(parts, steps, strict=True):
            part.sub_(step, alpha=LR)
    return weights if basis is None else weights @ basis.mT, intercept


def _in_span(support: Tensor, weights: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return an orthonormal basis (B, D, S + way) and the support (B, S, D) and weights (B, way, D) in it.

    Every step stays in the span of both: there are 30 coordinates for 640 features at 5-way 5-shot, and all that is
    asked of them is inner products. Where the features are no more, they are as they were and the basis is None.
    """
    if support.shape[1] + weights.shape[1] >= support.shape[2]:
        return None, support, weights
    basis = torch.linalg.qr(torch.cat([support, weights], 1).mT).Q
    return basis, support @ basis, weights @ basis


def _error(scores: Tensor, wanted: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy by the scores (B, M, way)."""
    return (scores.softmax(-1) - wanted).div_(scores.shape[1])


def _batches(items: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(EPOCHS):
        order = torch.randperm(items, generator=generator)
        yield from (order[start : start + BATCH] for start in range(0, items, BATCH))
