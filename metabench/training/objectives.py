"""Objectives of training: each gives the gradient of the next update, addressed by its position in the stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.data.split import RowIndices
from metabench.episodes.source import EpisodeSource
from metabench.learners.augmentation import augmented
from metabench.learners.base import Learner
from metabench.learners.distillation import distilled
from metabench.models.embedding import autocast
from metabench.models.output_checks import require_tensor
from metabench.registry.stage import Stage
from metabench.training.class_model import ClassModel
from metabench.utils.random_streams import Stream


class Objective(ABC):
    """Gradients of a stage.

    Attributes:
        module: the weights that are learned.
        device: of the weights.
        per_unit: positions in an episode (1) or an epoch (its updates).
    """

    module: nn.Module
    device: torch.device
    per_unit: int = 1

    @abstractmethod
    def backward(self, position: int) -> tuple[float, int]:
        """Leave the gradient of the update at a position in ``.grad``; return its loss and the position after it."""


class EpisodeObjective(Objective):
    """The loss of an algorithm on training episodes.

    Args:
        learner: on its device.
        stage: of episodes.
        images: uint8 (N, H, W, C) of the training split, on the same device.
        source: training episodes.
    """

    def __init__(self, learner: Learner, stage: Stage, images: Tensor, source: EpisodeSource) -> None:
        self.learner, self.stage, self.images, self.source = learner, stage, images, source
        self.module, self.device = learner.module, images.device
        if not stage.backbone_lr:
            learner.freeze_backbone()

    def backward(self, position: int) -> tuple[float, int]:
        """Leave the mean gradient of a meta-batch."""
        stop = min(position + self.stage.batch, self.stage.episodes)
        self.learner.train()
        batch = self.source.batch(position, stop)
        return float(self.learner.backward(self.images, batch, self.stage, position)), stop


class ClassObjective(Objective):
    """Cross-entropy of training images by their class.

    The order of the images in epoch e is a function of the name and e alone. An epoch ends with its last whole batch.

    Args:
        module: on its device.
        stage: of classes.
        images: uint8 (N, H, W, C) of the training split, on the same device.
        rows: which of them are learned from.
        labels: int64 (N,) their classes.
        name: any JSON value that names the order of the images.
        precision: of the backbone.
        teacher: model of the stage before; None without distillation.
    """

    module: ClassModel

    def __init__(
        self,
        module: ClassModel,
        stage: Stage,
        images: Tensor,
        rows: RowIndices,
        labels: Tensor,
        name: Any,
        *,
        precision: str = "float32",
        teacher: ClassModel | None = None,
    ) -> None:
        self.module, self.stage, self.images, self.labels = module, stage, images, labels
        self.device, self.precision, self.teacher = images.device, precision, teacher
        self._rows, self._stream = rows, Stream(["classes", name], len(rows))
        self.classes = int(labels.max()) + 1
        self._batch = min(stage.batch, len(rows))
        self.per_unit = len(rows) // self._batch
        self._epoch, self._order = -1, rows
        self._body = module.backbone.for_training()
        if not stage.backbone_lr:
            self._body = module.backbone.requires_grad_(False)

    def backward(self, position: int) -> tuple[float, int]:
        """Leave the gradient of a batch of images."""
        epoch, update = divmod(position, self.per_unit)
        rows = self._order_of(epoch)[update * self._batch :][: self._batch]
        index = torch.from_numpy(rows).to(self.device)
        backbone = self.module.backbone
        inputs = backbone.inputs(augmented(self.images[index], self.stage.augment))
        self.module.train()
        backbone.train(bool(self.stage.backbone_lr))
        with autocast(self.device, self.precision):
            features = self._body(inputs)
        features = require_tensor(features, (len(rows), backbone.feature_dim), "the backbone", self.device)
        scores = self.module.classifier(features.float())
        labels = self.labels[index]
        loss = F.cross_entropy(scores, labels, label_smoothing=self.stage.label_smoothing)
        if self.teacher is not None:
            with torch.no_grad(), autocast(self.device, self.precision):
                taught = self.teacher(inputs)
            loss = distilled(loss, scores, taught.float(), self.stage)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), position + 1

    def _order_of(self, epoch: int) -> RowIndices:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = self._rows[self._stream.words(epoch, epoch + 1)[0].argsort()]  # no ties in 64 random bits
        return self._order
