"""Training and scoring heads on features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners.augmentation import training_items
from metabench.learners.base import Learner
from metabench.learners.distillation import distilled
from metabench.models.assembly import Model
from metabench.models.embedding import autocast
from metabench.models.episode import Episode
from metabench.models.head_scores import head_loss, head_scores
from metabench.models.interfaces import Backbone, FeatureHead
from metabench.models.output_checks import require_tensor
from metabench.models.task_context import TaskContext, task_context
from metabench.registry.stage import Stage
from metabench.runtime.memory_budget import NO_LIMIT, MemoryBudget


class FeatureLearner(Learner):
    """A backbone and a head on its features (`metabench.models.interfaces.FeatureHead`)."""

    module: Model
    embedder: Backbone
    teacher: Model | None = None
    _is_frozen = False

    def __init__(self, model: Model, precision: str = "float32", frozen: Backbone | None = None) -> None:
        self.module, self.precision, self.frozen = model, precision, frozen
        self.embedder = model.backbone
        self.body = model.backbone.for_training()

    def scores(self, data: Tensor, batch: EpisodeBatch) -> Tensor:
        """Return the scores (B, Q, way) of the head on gathered features, some episodes at a time.

        Raises:
            OutputError: the head returned an output of another shape, type or device.
        """
        size, scores = piece_size(batch, data.shape[1], data.device), list[Tensor]()
        for start in range(0, len(batch), size):
            piece = batch[start : start + size]
            logits = batch_logits(self.module.head, data, piece, self.module.item_shape, self.views)
            shape = (*piece.query.shape, self.width(piece))
            scores.append(require_tensor(logits, shape, self.algorithm, data.device))
        return torch.cat(scores) if len(scores) > 1 else scores[0]

    def own_losses(self, data: Tensor, batch: EpisodeBatch, episode: int) -> Tensor | None:
        """Return the loss (B,) of each episode by itself, where the head has a loss of its own."""
        head, shape = self.module.head, self.module.item_shape
        if type(head).loss is FeatureHead.loss:
            return None
        losses, owner = list[Tensor](), f"the loss of {self.algorithm}"
        with task_context(TaskContext(episode=episode)):
            for index in range(len(batch)):
                alone = batch[index : index + 1]
                truth = torch.tensor(alone.query_labels, device=data.device)
                loss = head_loss(head, batch_episode(data, alone, shape, self.views), truth)
                losses.append(require_tensor(loss, (), owner, data.device))
        return torch.stack(losses)

    def train(self) -> None:
        """Put the weights into training mode, but not a frozen backbone."""
        self.module.train()
        self.embedder.train(not self._is_frozen)

    def freeze_backbone(self) -> None:
        """Learn nothing of the backbone from now on."""
        self._is_frozen = True
        self.body = self.embedder.requires_grad_(False)

    def teach(self, teacher: nn.Module | None) -> None:
        """Add distillation from the answers of a frozen model to the loss; None ends that."""
        assert teacher is None or isinstance(teacher, Model)
        self.teacher = None if teacher is None else teacher.requires_grad_(False).eval()

    def study(self, features: Tensor, classes: Tensor) -> None:
        """Let the head study the training classes, int64 (N,), by features (N, D)."""
        self.module.head.study(features.view(-1, *self.module.item_shape), classes)

    def chunk_size(self, data: Tensor, batch: EpisodeBatch) -> int:
        """Return how many episodes are drawn, scored and counted at once."""
        return chunk_size(batch, data.shape[1], data.device)

    def backward(self, images: Tensor, batch: EpisodeBatch, stage: Stage, episode: int) -> Tensor:
        """Leave the gradient of the mean loss; support and query pass the backbone as one batch-norm batch."""
        images, batch = training_items(images, batch, stage.augment)
        n_support = batch.support.shape[1]
        rows = torch.from_numpy(np.concatenate([batch.support, batch.query], axis=1)).to(images.device)
        labels, truth = (
            torch.from_numpy(part).to(images.device) for part in (batch.support_labels, batch.query_labels)
        )
        inputs = self.embedder.inputs(images[rows.flatten()])
        with task_context(TaskContext(episode=episode, label_smoothing=stage.label_smoothing)):
            with autocast(images.device, self.precision):
                features = self.body(inputs)
            shape = (rows.numel(), self.embedder.feature_dim)
            features = require_tensor(features, shape, self.backbone, images.device).float()
            features = features.view(*rows.shape, *self.module.item_shape)
            seen = Episode(features[:, :n_support], labels, features[:, n_support:], batch.way)
            loss = self.module.head.loss(seen, truth)
        require_tensor(loss, (), f"the loss of {self.algorithm}", images.device)
        if self.teacher is not None:
            taught = self._taught(inputs, seen)
            loss = distilled(loss, self.module.head.logits(seen).flatten(0, 1), taught.flatten(0, 1), stage)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @torch.no_grad()
    def _taught(self, inputs: Tensor, seen: Episode) -> Tensor:
        """Return the teacher's answers (B, Q, way) to the same episodes."""
        assert self.teacher is not None
        with autocast(inputs.device, self.precision):
            known = self.teacher.backbone(inputs)
        known = known.float().view(len(seen.support), -1, *self.teacher.item_shape)
        n_support = seen.support.shape[1]
        taught = replace(seen, support=known[:, :n_support], query=known[:, n_support:])
        return head_scores(self.teacher.head, taught)

    def check(
        self,
        stage: Stage | None,
        source: EpisodeSource,
        images: NDArray[np.uint8],
        memory: MemoryBudget = NO_LIMIT,
    ) -> str:
        """Return ''.

        Raises:
            UsageError: it is to be trained and has no weights.
        """
        if stage is None:
            return ""
        if not self.trainable():
            raise UsageError("has nothing to learn; use a backbone that learns, or --algo nearest-mean")
        if not stage.backbone_lr and not any(True for _ in self.module.head.parameters()):
            raise UsageError(f"has nothing to learn beside the backbone; use a {stage.name}.backbone_lr above 0")
        return ""


_FLOATS_PER_PIECE = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Feature values gathered at once: about the cache of a CPU core, or a share of the memory of a GPU."""
_PIECES = {"cpu": 8}
"""Most pieces in a chunk: drawing and counting small episodes takes its time for each chunk, whatever the size."""


def chunk_size(batch: EpisodeBatch, feature_dim: int, device: torch.device) -> int:
    """Return the number of episodes like the one in `batch` that make a chunk."""
    size = piece_size(batch, feature_dim, device)
    return min(4096, size * min(size, _PIECES.get(device.type, 1)))


def piece_size(batch: EpisodeBatch, feature_dim: int, device: torch.device) -> int:
    """Return the number of episodes like those in `batch` whose features are gathered at once."""
    rows = batch.support.shape[1] + batch.query.shape[1]
    budget = _FLOATS_PER_PIECE.get(device.type, _FLOATS_PER_PIECE["cuda"])
    return int(max(1, min(4096, budget // (rows * feature_dim))))


def gather(features: Tensor, rows: NDArray[np.int64], item_shape: tuple[int, ...] = (-1,)) -> Tensor:
    """Return features (N, D) at rows (B, M) as (B, M, D), or (B, M, C, H, W) for an `item_shape` of (C, H, W)."""
    index = torch.from_numpy(rows.reshape(-1)).to(features.device)
    return features.index_select(0, index).view(*rows.shape, *item_shape)


def batch_episode(
    features: Tensor, batch: EpisodeBatch, item_shape: tuple[int, ...] = (-1,), views: int = 0
) -> Episode:
    """Return a batch of episodes as a head sees it.

    Args:
        features: (N, D), or (N, (1 + views) D) where those of augmented copies follow.
        batch: B episodes.
        item_shape: of what the head reads.
        views: augmented copies of each image.
    """
    labels = torch.tensor(batch.support_labels, device=features.device)  # a copy: heads may write to it
    plain = features[:, : features.shape[1] // (1 + views)]
    support, query = (gather(plain, rows, item_shape) for rows in (batch.support, batch.query))
    copies = None
    if views:
        copies = gather(features[:, plain.shape[1] :], batch.support, (views, *support.shape[2:]))
    return Episode(support, labels, query, batch.way, copies)


def batch_logits(
    head: FeatureHead, features: Tensor, batch: EpisodeBatch, item_shape: tuple[int, ...] = (-1,), views: int = 0
) -> Tensor:
    """Return the head's scores (B, Q, way) for a batch of episodes; arguments as those of `batch_episode`."""
    return head_scores(head, batch_episode(features, batch, item_shape, views))
