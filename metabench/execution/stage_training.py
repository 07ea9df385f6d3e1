"""The training of one stage of a run, from the weights of the stage before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metabench.episodes.source import EpisodeSource
from metabench.errors import MetabenchError, MissingError
from metabench.evaluation.scoring import rehearse
from metabench.execution.active_run import ActiveRun
from metabench.execution.episode_sources import training_source
from metabench.execution.feature_cache import SplitImages
from metabench.execution.progress_text import interval_text
from metabench.execution.run_data import withheld_images
from metabench.execution.run_fingerprints import made_for_stage
from metabench.learners.base import Learner
from metabench.learners.factory import check_learner, make_class_learner, make_training_learner
from metabench.models.checkpoints import load_body, load_tensors, load_weights, save_tensors
from metabench.models.interfaces import Backbone
from metabench.planning.run_spec import RunSpec
from metabench.registry.stage import Stage
from metabench.training.class_model import ClassModel
from metabench.training.objectives import ClassObjective, EpisodeObjective, Objective
from metabench.training.trainer import Diverged, Progress, Trainer
from metabench.utils.console import Console, ProgressReporter
from metabench.utils.text import pluralise


def train_stage(
    active: ActiveRun, index: int, folder: Path, start: Path | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train a stage, resuming where an earlier attempt stopped; return its weights and the course of the training.

    Args:
        active: the run.
        index: of the stage.
        folder: holds the state of the training.
        start: file of the weights that the stage before ended with; None for the first stage.

    Raises:
        Diverged: the training did; the best weights so far are in `folder`.
        KeyboardInterrupt: the user stopped, after saving.
    """
    run, console = active.run, active.session.console
    stage = run.stages[index]
    validation = _episodes(active, stage, "val") if stage.is_validated else None
    learner, objective = (_for_episodes if stage.is_episodic else _for_classes)(active, index, start)
    state = folder / "state.safetensors"
    metric = run.training_metric
    trainer = Trainer(objective, stage, learner, validation, state, precision=run.precision, metric=metric)
    label = _label(active, stage)
    if _is_resumable(state, console):
        console.note(f"{label}: resuming")
    with console.progress(label, trainer.positions) as bar:
        try:
            progress = trainer.run(run.seed, _reporter(bar, trainer, validation is not None))
        except Diverged as error:
            raise _with_last_good(error, trainer, folder / "best.safetensors", made_for_stage(run, stage)) from error
    if stage.teacher:
        learner.teach(None)
    course = {**progress.outcome(stage, objective.per_unit), "seconds": progress.seconds}
    if isinstance(objective, ClassObjective):
        course["classes"] = objective.classes
    return trainer.best, course


def _for_episodes(active: ActiveRun, index: int, start: Path | None) -> tuple[Learner, Objective]:
    run, stage = active.run, active.run.stages[index]
    images, source = _episodes(active, stage, stage.train_on)
    is_whole = index == len(run.stages) - 1 and run.fits(index)
    is_whole = is_whole and not any(param.scoring for param in run.algorithm.spec.params)
    learner = active.learner if is_whole else make_training_learner(run, source.split.item_shape, images.device)
    _start(learner.module, run, index, start)
    if stage.teacher and start is not None:
        teacher = make_training_learner(run, source.split.item_shape, images.device)
        load_weights(teacher.module, start)
        learner.teach(teacher.module)
    if note := check_learner(run, learner, stage, source, active.session.memory.accepted()):
        active.session.console.note(f"{run.label}: {note}")
    rehearse(learner, images, source)
    return learner, EpisodeObjective(learner, stage, images, source)


def _for_classes(active: ActiveRun, index: int, start: Path | None) -> tuple[Learner, Objective]:
    run, loader, device = active.run, active.session.loader, active.features.device
    stage = run.stages[index]
    split, withheld = loader.split(run.trained_on, stage.train_on), withheld_images(run, loader, stage.train_on)
    rows = np.arange(len(split.images)) if withheld is None else np.flatnonzero(~withheld)
    learner = make_class_learner(run, split.item_shape, device)

    def model(backbone: Backbone) -> ClassModel:
        return ClassModel(backbone, len(split.names), stage, run.seed).to(device)

    module, teacher = model(learner.embedder), None
    _start(module, run, index, start)
    if stage.teacher and start is not None:
        teacher = model(make_class_learner(run, split.item_shape, device).embedder).requires_grad_(False).eval()
        load_weights(teacher, start)
    digest = active.digests.training(stage.train_on)
    images = active.items(SplitImages(split.images, digest))
    labels = torch.from_numpy(split.class_of(np.arange(len(split.images)))).to(device)
    name = [digest, stage.train_on, stage.name, run.seed]
    return learner, ClassObjective(module, stage, images, rows, labels, name, precision=run.precision, teacher=teacher)


def _start(module: nn.Module, run: RunSpec, index: int, start: Path | None) -> None:
    """Load what a stage keeps of the weights of the stage before."""
    stage = run.stages[index]
    if start is None or stage.keeps == "nothing":
        return
    if stage.keeps == "all" and run.stages[index - 1].objective == stage.objective:
        load_weights(module, start)
    else:
        load_body(module.get_submodule("backbone"), start)


def _episodes(active: ActiveRun, stage: Stage, split: str) -> tuple[Tensor, EpisodeSource]:
    """Return what the learner is trained or validated on, and its episodes."""
    source = training_source(active.run, stage, active.session.loader, split, active.digests)
    return active.items(SplitImages(source.split.images, active.digests.training(split))), source


def _label(active: ActiveRun, stage: Stage) -> str:
    run = active.run
    if not stage.is_episodic:
        return f"{stage.name} of {run.backbone.name} on {run.trained_on.name}, {pluralise(stage.epochs, 'epoch')}"
    prefix = "training" if len(run.stages) == 1 else stage.name + " of"
    return f"{prefix} {run.algorithm.name} on {run.trained_on.name}, {stage.shot}-shot"


def _is_resumable(state: Path, console: Console) -> bool:
    """Return whether there is a saved state of training; a damaged one is reported and removed."""
    try:
        load_tensors(state)
    except MissingError:
        return False
    except MetabenchError as error:
        console.warn(f"{error}; training from the start")
        state.unlink()
        return False
    return True


def _reporter(bar: ProgressReporter, trainer: Trainer, is_validated: bool) -> Callable[[Progress, float], None]:
    metric, per_unit = trainer.metric, trainer.objective.per_unit

    def report(progress: Progress, loss: float) -> None:
        validated = ""
        if progress.curve and is_validated:
            score = progress.curve[-1][f"validation_{metric.name}"]
            validated = f", validation {interval_text((score, None), metric)}"
        epoch = "" if trainer.stage.is_episodic else f"epoch {progress.position // per_unit}, "
        bar.update(progress.position, f"{epoch}loss {loss:.3f}{validated}")

    return report


def _with_last_good(error: Diverged, trainer: Trainer, path: Path, meta: Mapping[str, Any]) -> Diverged:
    """Keep the best weights of a training that diverged, and return the error with their path."""
    if not trainer.best:
        return error
    course = trainer.progress.outcome(trainer.stage, trainer.objective.per_unit)
    save_tensors(path, trainer.best, {**meta, "training": course})
    unit = trainer.stage.unit
    return Diverged(
        f"{error}. The best weights before, of {unit} {course[f'best_{unit}']}, can be used: --checkpoint {path}"
    )
