"""The training loop of a stage: selected on validation, checkpointed and resumed exactly.

No algorithm owns the loop, so that none can see the test split. An update is addressed by its position, and the
learning rate is a function of it. So an exact continuation needs only the weights, the state of the optimiser, the
best weights so far and torch's random state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metabench.episodes.source import EpisodeSource
from metabench.errors import MetabenchError
from metabench.evaluation.scoring import answer, score_batch
from metabench.learners.base import Learner
from metabench.models.checkpoints import load_tensors, save_tensors
from metabench.models.embedding import embed
from metabench.models.interfaces import objective as task_loss
from metabench.models.output_checks import NotFiniteError
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.stage import Stage
from metabench.registry.stage_checks import check_stage
from metabench.statistics.episode_scores import first_column
from metabench.training.objectives import Objective
from metabench.training.schedule import learning_rate, make_optimizer, set_learning_rate
from metabench.utils.signals import stop_on_signal

SAVE_SECONDS = 30.0


class Diverged(MetabenchError):
    """The loss is no longer a number."""


@dataclass
class Progress:
    """The progress of a stage, all of which is saved with its state.

    Positions are episodes, or updates in a stage of classes (`Objective.per_unit` to an epoch).
    """

    position: int = 0
    best_position: int = 0
    best_loss: float | None = None
    """Of validation, where there is any."""
    best_score: float | None = None
    stale: int = 0
    """Validations since the best one."""
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    """One entry every `Stage.validate_every` episodes (epochs): their number, train_loss and, with validation,
    validation_loss and the mean score (validation_accuracy, in percent, or the validation_ of another metric)."""

    def outcome(self, stage: Stage, per_unit: int) -> dict[str, Any]:
        """Return the course of the stage as records hold it, in episodes or epochs."""
        return {
            stage.unit: self.position // per_unit,
            f"best_{stage.unit}": self.best_position // per_unit,
            "best_loss": self.best_loss,
            "stale": self.stale,
            "curve": self.curve,
        }


class Trainer:
    """The training of a stage.

    Args:
        objective: gives the gradients.
        stage: checked here.
        learner: answers the validation episodes, by the weights of `objective`.
        validation: images and episodes that the best weights are chosen on; None keeps the last weights.
        state: the file of the resumable state.
        precision: of the backbone.
        metric: scores the validation episodes.
    """

    def __init__(
        self,
        objective: Objective,
        stage: Stage,
        learner: Learner,
        validation: tuple[Tensor, EpisodeSource] | None,
        state: Path,
        *,
        precision: str = "float32",
        metric: Metric = ACCURACY,
    ) -> None:
        check_stage(stage)
        self.objective, self.stage, self.learner = objective, stage, learner
        self.validation, self.state, self.precision, self.metric = validation, state, precision, metric
        self.model = objective.module
        self.device = objective.device
        self.optimizer = make_optimizer(self.model, stage)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self._losses: list[float] = []
        self._remedy = f"try a lower --set {stage.name}.lr, or algo.lr where the algorithm has an inner rate"

    def run(self, seed: int, report: Callable[[Progress, float], None]) -> Progress:
        """Train to the end, from the saved state if there is one, and leave the best weights in the model.

        Args:
            seed: of torch's random numbers (dropout and the like), whose state is restored afterwards.
            report: called after each update with the progress and the latest training loss.

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
            every = self.stage.validate_every * self.objective.per_unit
            while not self._finished():
                checked = self.progress.position // every
                loss = self._step()
                self.progress.seconds = before + time.monotonic() - started
                report(self.progress, loss)
                if self.progress.position // every > checked or self._finished():
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

    @property
    def positions(self) -> int:
        """The position at which the stage ends."""
        return self.stage.length * self.objective.per_unit

    def _finished(self) -> bool:
        patience = self.stage.patience
        return self.progress.position >= self.positions or 0 < patience <= self.progress.stale

    def _at(self, position: int) -> str:
        return f"{self.stage.unit} {position // self.objective.per_unit}"

    def _step(self) -> float:
        position = self.progress.position
        set_learning_rate(self.optimizer, learning_rate(self.stage, position / self.objective.per_unit))
        self.optimizer.zero_grad(set_to_none=True)
        value, stop = self.objective.backward(position)
        if not np.isfinite(value):  # before the step: the weights stay those of the last good one
            raise Diverged(f"the training loss is {value} at {self._at(position)}; {self._remedy}")
        self._clip()
        self.optimizer.step()
        self._losses.append(value)
        self.progress.position = stop
        return value

    def _clip(self) -> None:
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        if self.stage.clip:
            torch.nn.utils.clip_grad_value_(parameters, self.stage.clip)
        if self.stage.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, self.stage.clip_norm)

    def _validate(self) -> None:
        """Add a point to the curve, and keep these weights if they are the best or there is no validation."""
        progress = self.progress
        point: dict[str, float] = {self.stage.unit: progress.position // self.objective.per_unit}
        if self._losses:
            point["train_loss"] = float(np.mean(self._losses))
        self._losses.clear()
        better = True
        if self.validation is None:
            if not all(bool(value.isfinite().all()) for value in self.model.parameters()):
                raise Diverged(f"a weight is not a number at {self._at(progress.position)}; {self._remedy}")
        else:
            try:
                loss, score = self.validation_scores()
            except NotFiniteError:
                loss, score = math.nan, math.nan
            if not np.isfinite(loss):  # it would stay the best for ever, and no record can hold it
                raise Diverged(f"the validation loss is {loss} at {self._at(progress.position)}; {self._remedy}")
            point |= {"validation_loss": loss, f"validation_{self.metric.name}": score}
            if better := self._is_better(loss, score):
                progress.best_loss, progress.best_score = loss, score
        progress.curve.append({name: round(value, 6) for name, value in point.items()})
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_position = progress.position
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _is_better(self, loss: float, score: float) -> bool:
        """Return whether weights of this validation loss and score are to be kept."""
        best_loss, best_score = self.progress.best_loss, self.progress.best_score
        if self.stage.select == "last" or best_loss is None or best_score is None:
            return True
        if self.stage.select == "loss":
            return loss < best_loss
        return score > best_score if self.metric.higher_is_better else score < best_score

    def validation_scores(self) -> tuple[float, float]:
        """Return mean loss and mean score (accuracy in percent) over the validation episodes."""
        assert self.validation is not None
        images, source = self.validation
        self.model.eval()
        data = images
        if (backbone := self.learner.embedder) is not None:
            data = embed(backbone, images, self.precision, owner=self.learner.backbone)
        losses, values, asked = list[float](), list[float](), 0
        with torch.inference_mode(), self.learner.scoring(data):
            size = self.learner.chunk_size(data, source.batch(0, 1))
            for start, batch in source.chunks(self.stage.validation_episodes, size):
                outputs, truth = answer(self.learner, data, source, start, batch)
                own = self.learner.own_losses(data, batch, self.progress.position)
                if own is None:
                    query_losses = task_loss(outputs.flatten(0, 1), truth.flatten(0, 1), "none")
                    losses += query_losses.double().view(len(batch), -1).sum(1).tolist()
                else:
                    losses += own.double().tolist()
                asked += truth.numel() if own is None else len(own)
                scores, _ = score_batch(source, start, outputs, truth)
                values += first_column(scores).tolist()
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
        meta = {**vars(self.progress), "losses": self._losses, "positions": self.positions}
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
        del meta["positions"]
        self.progress = Progress(**meta)
