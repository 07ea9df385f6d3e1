"""What the harness trains and scores, whatever kind of algorithm it is: weights, scores of episodes, gradients."""

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
from metabench.models.interfaces import Backbone
from metabench.registry.recipe import Recipe


class Learner(ABC):
    """An algorithm with its weights, ready to be trained and scored.

    `data` below is what `scores` looks up by image row: features where `embedder` says what makes them of the
    images, else the images themselves, uint8 (N, H, W, C).

    Attributes:
        module: holds all weights, under the names that they have in a checkpoint.
        embedder: the backbone that embeds every image once for all episodes; None where each task has its own.
        frozen: a backbone that has nothing to learn and is no part of `module`. Where there is one, what the methods
            below take for images are its features, float32 (N, D), made once for training and evaluation.
        beside_mb: memory in MiB that processes beside this one took at most.
        algorithm, backbone: how messages name the two plugins.
        inductive: whether the score of a query must not depend on the other queries.
    """

    module: nn.Module
    embedder: Backbone | None
    frozen: Backbone | None = None
    beside_mb: float = 0.0
    algorithm: str = "the algorithm"
    backbone: str = "the backbone"
    inductive: bool = False

    @abstractmethod
    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return the scores (B, Q, way) of a batch of episodes; called in evaluation mode and without gradients."""

    def width(self, batch: EpisodeBatch) -> int:
        """Return how many numbers `scores` has for each query: one for each class, or those that are predicted."""
        return batch.way

    @contextmanager
    def scoring(self, data: Tensor) -> Iterator[None]:
        """Score within this block `data` alone, by weights that stay as they are: copies of both may be made."""
        yield

    def truth(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return what `scores` should be close to: the labels (B, Q) of the queries, or numbers (B, Q, D)."""
        return torch.from_numpy(batch.query_labels).to(data.device)

    @abstractmethod
    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """Return how many episodes like the one in `batch` are scored at once."""

    @abstractmethod
    def backward(self, images: Tensor, batch: EpisodeBatch, recipe: Recipe, episode: int) -> Tensor:
        """Leave the gradient of the mean training loss in ``.grad`` of the parameters and return the loss.

        Args:
            images: uint8 (N, H, W, C) of the training split.
            episode: training episodes that came before this batch.
        """

    def check(
        self, recipe: Recipe | None, source: EpisodeSource, images: NDArray[np.uint8], accepted: bool = False
    ) -> str:
        """Raise UsageError for what can be known to fail before hours of work; return a note for the user, or ''.

        Args:
            recipe: None where nothing is trained.
            source: of training episodes (of the test's where nothing is trained), of `images` (N, H, W, C), which are
                images even where the others take features.
            accepted: that there is memory for it was found before. It is not refused for want of it now, when what
                earlier work has freed may count as taken.
        """
        return ""

    def trainable(self) -> bool:
        """Whether there is anything to learn."""
        return any(parameter.requires_grad for parameter in self.module.parameters())
