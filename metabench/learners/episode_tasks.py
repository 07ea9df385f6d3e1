"""Tensors of the tasks in a batch of episodes."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch
from metabench.models.embedding import checked_targets
from metabench.models.interfaces import Backbone

Task = tuple[Tensor, ...]
"""Support images (S, C, H, W), labels (S,), query images (Q, C, H, W), their labels (Q,); all with a leading dimension
where it is a group of tasks."""


def tasks_of(backbone: Backbone, images: Tensor, batch: EpisodeBatch) -> Task:
    """Return the tasks of a batch, their items as `backbone` takes them, contiguous."""

    def inputs(rows: NDArray[Any]) -> Tensor:
        index = torch.from_numpy(rows).to(images.device)
        items = backbone.inputs(images[index.flatten()]).clone(memory_format=torch.contiguous_format)
        return items.view(*index.shape, *items.shape[1:])

    labels = goals_of(backbone, images, batch.support, batch.support_labels)
    truth = goals_of(backbone, images, batch.query, batch.query_labels)
    return inputs(batch.support), labels, inputs(batch.query), truth


def goals_of(backbone: Backbone, images: Tensor, rows: NDArray[Any], labels: NDArray[Any]) -> Tensor:
    """Return what is to be predicted for the items in `rows` (B, M): labels (B, M), or numbers (B, M, D)."""
    if not backbone.outputs:
        return torch.from_numpy(labels).to(images.device)
    index = torch.from_numpy(rows.reshape(-1)).to(images.device)
    targets = checked_targets(backbone, images[index], f"backbone {type(backbone).__name__}")
    return targets.reshape(*rows.shape, backbone.outputs)
