"""Recipe of meta-training: episodes, optimiser, schedule, validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metabench.registry.params import Value


@dataclass(frozen=True)
class Recipe:
    """The episodic training of an algorithm on a dataset.

    Episodes are counted, never epochs. ``way = 0`` and ``shot = 0`` mean those of the evaluation, ``query = 0``
    means as many as `shot`.
    """

    way: int
    shot: int
    query: int
    episodes: int
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    lr_step: int = 0
    """Multiply the learning rate by `lr_gamma` every `lr_step` episodes; 0 keeps it constant."""
    lr_gamma: float = 0.5
    validate_every: int = 500
    """Validate after every so many episodes; the weights with the best validation loss are kept."""
    validation_episodes: int = 400
    validation_way: int = 5
    """0: the way of the evaluation."""
    patience: int = 0
    """Stop after so many validations without a better loss; 0 never stops early."""
    train_on: str = "train"
    """Splits whose classes are trained on: ``train``, or ``train+val``, which leaves nothing to validate on: the
    weights after the last episode are kept."""
    batch: int = 1
    """Episodes (tasks) whose mean gradient makes one update: the meta-batch."""
    schedule: str = "step"
    """``step`` (`lr_step`, `lr_gamma`), or from `lr` to `lr_end` over all episodes: ``cosine`` or ``linear``."""
    lr_end: float = 0.0
    clip: float = 0.0
    """Clip every entry of the gradient to this absolute value; 0 does not."""
    clip_norm: float = 0.0
    """Clip the norm of the whole gradient to this; 0 does not."""
    first_order_episodes: int = 0
    """Leave second derivatives out in the first so many episodes."""
    validation_query: int = 0
    """Queries of each class in validation; 0: as in training."""
    augment: str = "none"
    """Augmentation of training images, one of `metabench.learners.augmentation.AUGMENTS`: ``none``, ``crop-flip`` or
    ``crop-flip-jitter``. Part of the run key only where it is not ``none``."""
    params: Mapping[str, Value] = field(default_factory=dict)
    """Defaults of the algorithm's parameters for this dataset, where they differ from those of the spec."""
    source: str = ""
    """Source of the recipe, and its differences from it; not part of the run key."""

    def inputs(self) -> dict[str, Any]:
        """Return the fields that are part of a run key."""
        fields = (item.name for item in dataclasses.fields(self) if item.name not in ("params", "source"))
        inputs = {name: getattr(self, name) for name in fields}
        if self.augment == "none":
            del inputs["augment"]
        return inputs
