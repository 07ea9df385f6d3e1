"""The training loop: episodic, selected on validation, checkpointed and resumed exactly.

No algorithm owns the loop, so that none can see the test split. Training episode `i` is addressed by its index and the
learning rate is a function of `i`. So an exact continuation needs only the weights, the state of the optimiser, the
best weights so far and torch's random state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import MetabenchError, UsageError
from metabench.evaluation.scoring import answer, score_batch
from metabench.learners.augmentation import AUGMENTS
from metabench.learners.base import Learner
from metabench.models.checkpoints import load_tensors, save_tensors
from metabench.models.embedding import embed
from metabench.models.interfaces import objective
from metabench.models.output_checks import NotFiniteError
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.recipe import Recipe
from metabench.statistics.episode_scores import first_column
from metabench.utils.signals import stop_on_signal

OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("step", "cosine", "linear")
SAVE_SECONDS = 30.0
_CALMER = "try a lower --set train.lr, or algo.lr where the algorithm has an inner rate"


class Diverged(MetabenchError):
    """The loss is no longer a number."""


TRAIN_ON = ("train", "train+val")


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError where a recipe has a value that does not exist."""
    if recipe.optimizer not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer '{recipe.optimizer}'; known: {', '.join(OPTIMIZERS)}")
    if recipe.schedule not in SCHEDULES:
        raise UsageError(f"unknown schedule '{recipe.schedule}'; known: {', '.join(SCHEDULES)}")
    if recipe.augment not in AUGMENTS:
        raise UsageError(f"train.augment must be one of {', '.join(AUGMENTS)}, not '{recipe.augment}'")
    if recipe.train_on not in TRAIN_ON:
        raise UsageError(f"train.train_on must be one of {', '.join(TRAIN_ON)}, not '{recipe.train_on}'")
    if recipe.train_on == "train+val" and recipe.patience:
        raise UsageError("train.patience needs a validation split; set it to 0, or train.train_on to train")


def learning_rate(recipe: Recipe, episode: int) -> float:
    """Return the learning rate of the step that begins with training episode `episode`."""
    if recipe.schedule == "step":
        decays = episode // recipe.lr_step if recipe.lr_step else 0
        return recipe.lr * recipe.lr_gamma**decays
    done = min(1.0, episode / max(1, recipe.episodes))
    left = 1 - done if recipe.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return recipe.lr_end + (recipe.lr - recipe.lr_end) * left


@dataclass
class Progress:
    """The progress of a training, all of which is saved with its state."""

    episode: int = 0
    best_episode: int = 0
    best_loss: float | None = None
    """Of validation, where there is any."""
    stale: int = 0
    """Validations since the best one."""
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    """One entry every `Recipe.validate_every` episodes: episode, train_loss and, with validation, validation_loss and
    the mean score (validation_accuracy, in percent, or the validation_ of another metric)."""


class Trainer:
    """The training of a learner by a recipe.

    Args:
        learner: on its device.
        recipe: checked here.
        images: uint8 (N, H, W, C) of the training split, on the same device.
        source: training episodes.
        validation: images and episodes that the best weights are chosen on; None keeps the last weights.
        state: the file of the resumable state.
        precision: of the backbone.
        metric: scores the validation episodes.
    """

    def __init__(
        self,
        learner: Learner,
        recipe: Recipe,
        images: Tensor,
        source: EpisodeSource,
        validation: tuple[Tensor, EpisodeSource] | None,
        state: Path,
        *,
        precision: str = "float32",
        metric: Metric = ACCURACY,
    ) -> None:
        check_recipe(recipe)
        self.metric = metric
        self.learner, self.recipe, self.state, self.precision = learner, recipe, state, precision
        self.model = learner.module
        self.images, self.source = images, source
        self.validation = validation
        self.device = images.device
        self.optimizer = OPTIMIZERS[recipe.optimizer](
            self.model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
        )  # type: ignore[call-arg]
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self._losses: list[float] = []

    def run(self, seed: int, report: Callable[[Progress, float], None]) -> Progress:
        """Train to the end, from the saved state if there is one, and leave the best weights in the model.

        Args:
            seed: of torch's random numbers (dropout and the like), whose state is restored afterwards.
            report: called after each episode with the progress and the latest training loss.

        Raises:
            KeyboardInterrupt: after saving, where the user asked to stop.
            Diverged: the loss is no longer a number; the best weights so far are in `best`.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), stop_on_signal() as stop:
            torch.manual_seed(seed)
            if self.state.exists():
                self._restore()
            saved = started = time.monotonic()
            before = self.progress.seconds
            while not self._finished():
                checked = self.progress.episode // self.recipe.validate_every
                loss = self._step()
                self.progress.seconds = before + time.monotonic() - started
                report(self.progress, loss)
                if self.progress.episode // self.recipe.validate_every > checked or self._finished():
                    self._validate()
                if stop.requested or time.monotonic() - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
                if stop.requested:
                    raise KeyboardInterrupt
            if not self.best:
                self._validate()
            self._save()
            if stop.requested:  # since the last step
                raise KeyboardInterrupt
        self.model.load_state_dict(self.best)
        return self.progress

    def _finished(self) -> bool:
        patience = self.recipe.patience
        return self.progress.episode >= self.recipe.episodes or 0 < patience <= self.progress.stale

    def _step(self) -> float:
        episode, recipe = self.progress.episode, self.recipe
        stop = min(episode + recipe.batch, recipe.episodes)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, episode)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        value = self._loss(self.source.batch(episode, stop))
        if not np.isfinite(value):  # before the step: the weights stay those of the last good one
            raise Diverged(f"the training loss is {value} at episode {episode}; {_CALMER}")
        self._clip()
        self.optimizer.step()
        self._losses.append(value)
        self.progress.episode = stop
        return value

    def _loss(self, batch: EpisodeBatch) -> float:
        """Return the loss of a batch and leave its gradient in the parameters."""
        return float(self.learner.backward(self.images, batch, self.recipe, self.progress.episode))

    def _clip(self) -> None:
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        if self.recipe.clip:
            torch.nn.utils.clip_grad_value_(parameters, self.recipe.clip)
        if self.recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)

    def _validate(self) -> None:
        """Add a point to the curve, and keep these weights if they are the best or there is no validation."""
        progress = self.progress
        point: dict[str, float] = {"episode": progress.episode}
        if self._losses:
            point["train_loss"] = float(np.mean(self._losses))
        self._losses.clear()
        better = True
        if self.validation is None:
            if not all(bool(value.isfinite().all()) for value in self.model.parameters()):
                raise Diverged(f"a weight is not a number at episode {progress.episode}; {_CALMER}")
        else:
            try:
                loss, score = self.validation_scores()
            except NotFiniteError:
                loss, score = math.nan, math.nan
            if not np.isfinite(loss):  # it would stay the best for ever, and no record can hold it
                raise Diverged(f"the validation loss is {loss} at episode {progress.episode}; {_CALMER}")
            point |= {"validation_loss": loss, f"validation_{self.metric.name}": score}
            better = progress.best_loss is None or loss < progress.best_loss
            progress.best_loss = loss if better else progress.best_loss
        progress.curve.append({name: round(value, 6) for name, value in point.items()})
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_episode = progress.episode
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def validation_scores(self) -> tuple[float, float]:
        """Return mean loss and mean score (accuracy in percent) over the recipe's validation episodes."""
        assert self.validation is not None
        images, source = self.validation
        self.model.eval()
        data = images
        if (backbone := self.learner.embedder) is not None:
            data = embed(backbone, images, self.precision, owner=self.learner.backbone)
        losses, values, asked = list[float](), list[float](), 0
        with torch.inference_mode(), self.learner.scoring(data):
            size = self.learner.chunk_size(data, source.batch(0, 1))
            for start, batch in source.chunks(self.recipe.validation_episodes, size):
                outputs, truth = answer(self.learner, data, source, start, batch)
                query_losses = objective(outputs.flatten(0, 1), truth.flatten(0, 1), "none")
                losses += query_losses.double().view(len(batch), -1).sum(1).tolist()
                scores, _ = score_batch(source, start, outputs, truth)
                values += first_column(scores).tolist()
                asked += truth.numel()
        scale = 100.0 if self.metric == ACCURACY else 1.0
        return math.fsum(losses) / asked, scale * math.fsum(values) / len(values)

    def _save(self) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        for index, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in entries.items()}
        meta = {**vars(self.progress), "losses": self._losses}
        save_tensors(self.state, tensors, meta)

    def _restore(self) -> None:
        tensors, meta = load_tensors(self.state)
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "random": {}, "optimizer": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            groups[kind][rest] = value
        self.model.load_state_dict(groups["model"])
        self.best = {name: value.to(self.device) for name, value in groups["best"].items()}
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"]:
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.device)
        state: dict[int, dict[str, Any]] = {}
        for name, value in groups["optimizer"].items():
            index, _, entry = name.partition(".")
            state.setdefault(int(index), {})[entry] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self._losses = meta.pop("losses")
        self.progress = Progress(**meta)
