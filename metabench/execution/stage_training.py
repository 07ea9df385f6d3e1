"""The training of one stage of a run, from the weights of the stage before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from metabench.registry.metric import Metric
from metabench.registry.stage import Stage
from metabench.training.class_model import ClassModel
from metabench.training.objectives import ClassObjective, EpisodeObjective, Objective
from metabench.training.trainer import Diverged, Progress, Trainer
from metabench.utils.console import Console, ProgressReporter
from metabench.utils.text import pluralise


def train_stage(
    active: ActiveRun, stage: Stage, folder: Path, start: Path | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train a stage, resuming where an earlier attempt stopped; return its weights and the course of the training.

    Args:
        active: the run.
        stage: of its training.
        folder: holds the state of the training.
        start: file of the weights that the stage before ended with; None for the first stage.

    Raises:
        Diverged: the training did; the best weights so far are in `folder`.
        KeyboardInterrupt: the user stopped, after saving.
    """
    run, console = active.run, active.session.console
    validation = _episodes(active, stage, "val") if stage.is_validated else None
    learner, objective = (_for_episodes if stage.is_episodic else _for_classes)(active, stage, start)
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
    course = {**progress.outcome(stage, objective.per_unit), "seconds": progress.seconds}
    return trainer.best, course


def _for_episodes(active: ActiveRun, stage: Stage, start: Path | None) -> tuple[Learner, Objective]:
    run = active.run
    images, source = _episodes(active, stage, stage.train_on)
    learner = make_training_learner(run, source.split.item_shape, active.features.device)
    if start is not None and stage.keeps != "nothing":
        if stage.keeps == "all" and _previous(run.stages, stage).is_episodic:
            load_weights(learner.module, start)
        else:
            load_body(learner.module.get_submodule("backbone"), start)
    if stage.teacher and start is not None:
        teacher = make_training_learner(run, source.split.item_shape, active.features.device)
        load_weights(teacher.module, start)
        learner.teach(teacher.module)
    if note := check_learner(run, learner, stage, source, active.session.memory.accepted()):
        active.session.console.note(f"{run.label}: {note}")
    rehearse(learner, images, source)
    return learner, EpisodeObjective(learner, stage, images, source)


def _for_classes(active: ActiveRun, stage: Stage, start: Path | None) -> tuple[Learner, Objective]:
    run, loader, device = active.run, active.session.loader, active.features.device
    split, withheld = loader.split(run.trained_on, stage.train_on), withheld_images(run, loader, stage.train_on)
    rows = np.arange(len(split.images)) if withheld is None else np.flatnonzero(~withheld)
    learner = make_class_learner(run, split.item_shape, device)

    def model() -> ClassModel:
        backbone = make_class_learner(run, split.item_shape, device).embedder
        return ClassModel(backbone, len(split.names), stage, run.seed).to(device)

    module, teacher = ClassModel(learner.embedder, len(split.names), stage, run.seed).to(device), None
    if start is not None:
        if stage.keeps == "all" and not _previous(run.stages, stage).is_episodic:
            load_weights(module, start)
        elif stage.keeps != "nothing":
            load_body(module.backbone, start)
        if stage.teacher:
            teacher = model().requires_grad_(False).eval()
            load_weights(teacher, start)
    digest = active.digests.training(stage.train_on)
    images = active.items(SplitImages(split.images, digest))
    labels = torch.from_numpy(split.class_of(np.arange(len(split.images)))).to(device)
    name = [digest, stage.train_on, stage.name, run.seed]
    return learner, ClassObjective(
        module, stage, images, rows, labels, name, precision=run.precision, teacher=teacher
    )
