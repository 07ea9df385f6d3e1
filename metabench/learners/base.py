"""The interface through which every kind of algorithm is trained and scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.models.interfaces import Backbone
from metabench.registry.stage import Stage
from metabench.runtime.memory_budget import NO_LIMIT, MemoryBudget


class Learner(ABC):
    """An algorithm with its weights, ready to be trained and scored.

    `data` below is what `scores` indexes by image row: features (N, D) where there is an `embedder`, else the images,
    uint8 (N, H, W, C).

    Attributes:
        module: holds all weights, under the names that they have in a checkpoint.
        embedder: the backbone that embeds every image once for all episodes; None where each task has its own.
        frozen: a backbone that has nothing to learn and is no part of `module`. Where there is one, the methods below
            take its features, float32 (N, D), for images; they are computed once for training and evaluation.
        beside_mb: peak memory in MiB of the processes beside this one.
        algorithm, backbone: names of the two plugins in messages.
        views: augmented copies of each image whose features stand behind its own in `data`; mostly 0.
        studies: whether its head needs to have studied base classes.
        inductive: whether the score of a query must not depend on the other queries.
    """

    module: nn.Module
    embedder: Backbone | None
    frozen: Backbone | None = None
    beside_mb: float = 0.0
    algorithm: str = "the algorithm"
    backbone: str = "the backbone"
    views: int = 0
    studies: bool = False
    inductive: bool = False

    @abstractmethod
    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return the scores (B, Q, way) of a batch of episodes; called in evaluation mode and without gradients."""

    def own_losses(self, data: Tensor, batch: EpisodeBatch, episode: int) -> Tensor | None:
        """Return the loss (B,) of each episode of a batch, by a loss of the algorithm's own.

        Args:
            data, batch: as in `scores`, and called as it is.
            episode: number of training episodes so far.

        Returns:
            None where the loss is that of the scores (`metabench.models.interfaces.objective`).
        """
        return None

    def width(self, batch: EpisodeBatch) -> int:
        """Return the numbers per query in `scores`: one for each class, or the predicted ones."""
        return batch.way

    @contextmanager
    def scoring(self, data: Tensor) -> Iterator[None]:
        """Promise that within this block only `data` is scored and no weight changes, so that both may be copied."""
        yield

    def truth(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return the targets of `scores`: the labels (B, Q) of the queries, or numbers (B, Q, D)."""
        return torch.from_numpy(batch.query_labels).to(data.device)

    def train(self) -> None:
        """Put the weights into training mode."""
        self.module.train()

    def freeze_backbone(self) -> None:
        """Learn no weight of the backbone, nor its batch norm statistics, from now on.

        Raises:
            UsageError: the algorithm cannot do without.
        """
        raise UsageError("adapts its backbone, which so cannot be frozen; use a backbone_lr above 0")

    def teach(self, teacher: nn.Module | None) -> None:
        """Add what a frozen model of the same kind says to the loss; None ends that.

        Raises:
            UsageError: the algorithm cannot be taught.
        """
        if teacher is not None:
            raise UsageError("adapts to each task and has no answers that a teacher could compare; use teacher=false")

    def study(self, features: Tensor, classes: Tensor) -> None:
        """Show the features (N, D) of the training classes, int64 (N,), once after training."""
        raise UsageError("does not study the training classes")

    @abstractmethod
    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """Return the number of episodes like the one in `batch` that are scored at once."""

    @abstractmethod
    def backward(self, images: Tensor, batch: EpisodeBatch, stage: Stage, episode: int) -> Tensor:
        """Leave the gradient of the mean training loss in ``.grad`` of the parameters and return the loss.

        Args:
            images: uint8 (N, H, W, C) of the training split.
            batch: training episodes.
            stage: says how to augment.
            episode: number of training episodes before this batch.
        """

    def check(
        self,
        stage: Stage | None,
        source: EpisodeSource,
        images: NDArray[np.uint8],
        memory: MemoryBudget = NO_LIMIT,
    ) -> str:
        """Return a note for the user, or '', once nothing is known to fail after hours of work.

        Args:
            stage: None where nothing is trained.
            source: training episodes (test episodes where nothing is trained).
            images: uint8 (N, H, W, C) of ``source.split``, even where the other methods take features.
            memory: that tasks may take.

        Raises:
            UsageError: training or scoring would fail.
        """
        return ""

    def trainable(self) -> bool:
        """Return whether there is anything to learn."""
        return any(parameter.requires_grad for parameter in self.module.parameters())
