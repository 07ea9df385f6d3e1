"""What the harness trains and scores, whatever kind of algorithm it is: weights, scores of episodes, gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metabench.augment import training_items
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.evaluate import batch_logits, chunk_size
from metabench.models.assembly import Model
from metabench.models.embedding import autocast
from metabench.models.interfaces import Backbone
from metabench.models.output_checks import require_tensor
from metabench.models.task_context import TaskContext, task_context
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


class FeatureLearner(Learner):
    """A backbone and a head on its features (`metabench.models.interfaces.FeatureHead`)."""

    module: Model
    embedder: Backbone

    def __init__(self, model: Model, precision: str = "float32", frozen: Backbone | None = None) -> None:
        self.module, self.precision, self.frozen = model, precision, frozen
        self.embedder = model.backbone
        self.body = model.backbone.for_training()

    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Score by features."""
        return batch_logits(self.module.head, data, batch)

    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """By the number of feature values."""
        return chunk_size(batch, data.shape[1], data.device)

    def backward(self, images: Tensor, batch: EpisodeBatch, recipe: Recipe, episode: int) -> Tensor:
        """Support and query pass the backbone together (one batch norm batch)."""
        images, batch = training_items(images, batch, recipe.augment)
        n_support = batch.support.shape[1]
        rows = torch.from_numpy(np.concatenate([batch.support, batch.query], axis=1)).to(images.device)
        with task_context(TaskContext(episode=episode)), autocast(images.device, self.precision):
            features = self.body(self.embedder.inputs(images[rows.flatten()]))
        shape = (rows.numel(), self.embedder.feature_dim)
        features = require_tensor(features, shape, self.backbone, images.device).float().view(*rows.shape, -1)
        labels, truth = (
            torch.from_numpy(part).to(images.device) for part in (batch.support_labels, batch.query_labels)
        )
        loss = self.module.head.loss(features[:, :n_support], labels, features[:, n_support:], truth, batch.way)
        require_tensor(loss, (), f"the loss of {self.algorithm}", images.device)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def check(
        self, recipe: Recipe | None, source: EpisodeSource, images: NDArray[np.uint8], accepted: bool = False
    ) -> str:
        """Refuse to train what has no weights."""
        if recipe is not None and not self.trainable():
            raise UsageError("has nothing to learn; use a backbone that learns, or --algo nearest-mean")
        return ""
