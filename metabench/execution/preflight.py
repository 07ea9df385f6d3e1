"""Checks before any run is measured, against failures that would come after hours of work."""

from __future__ import annotations

import torch

from metabench.errors import UsageError
from metabench.execution.episode_sources import measured_episodes, training_source
from metabench.execution.session import Session
from metabench.learners.base import Learner
from metabench.learners.factory import check_learner, load_checkpoint, make_run_learner, make_training_learner
from metabench.models.assembly import Model
from metabench.planning.run_spec import RunSpec
from metabench.registry.stage import Stage


def check_run(run: RunSpec, session: Session, device: torch.device) -> None:
    """Check that the episodes, the weights and the learner of a run go together, and that there is memory for them.

    Raises:
        UsageError, MissingError: the run cannot be measured.
        Exception: whatever the code of a plugin raises.
    """
    loader, memory = session.loader, session.memory
    measured = measured_episodes(run, loader).source
    for stage in run.stages:
        _check_stage(run, stage, session, device)
    learner = make_run_learner(run, loader.split(run.dataset, run.split).item_shape, device)
    if run.checkpoint is not None:
        load_checkpoint(learner, run.checkpoint)
    elif not run.stages:
        _refuse_untrained_head(run, learner)
    # After training too: what is scored may need more memory, and another number of classes.
    check_learner(run, learner, None, measured, memory)


def _check_stage(run: RunSpec, stage: Stage, session: Session, device: torch.device) -> None:
    """Raise an error for what would end a stage of training."""
    loader, memory = session.loader, session.memory
    training = loader.split(run.trained_on, stage.train_on)
    _refuse_other_shape(run, session, training.images.shape[1:])
    validation = training_source(run, stage, loader, "val")
    if not stage.is_episodic:
        if len(training.names) < 2:
            raise UsageError(
                f"cannot do stage '{stage.name}': '{run.trained_on.name}' has one class to train on, and needs two"
            )
        return
    episodes = training_source(run, stage, loader, stage.train_on)
    learner = make_training_learner(run, training.item_shape, device)
    check_learner(run, learner, stage, episodes, memory)
    if stage.is_validated:
        check_learner(run, learner, None, validation, memory)


def _refuse_other_shape(run: RunSpec, session: Session, trained_on: tuple[int, ...]) -> None:
    """Raise UsageError where the trained network cannot read the measured items; texts may differ in length."""
    measured = session.loader.split(run.dataset, run.split).images.shape[1:]
    if measured == trained_on or len(measured) == len(trained_on) == 1:
        return
    sizes = (next((p.default for p in c.spec.params if p.name == "size"), "") for c in (run.trained_on, run.dataset))
    size = next(filter(None, sizes), "")
    remedy = f"make them alike, as with --set data.size={size}, or take" if size else "take"
    raise UsageError(
        f"items of '{run.trained_on.name}' are {_times(trained_on)} and those of '{run.dataset.name}' "
        f"{_times(measured)}, so what is trained on the one cannot read the other; {remedy} "
        "a dataset of the same shape"
    )


def _refuse_untrained_head(run: RunSpec, learner: Learner) -> None:
    """Raise UsageError for an algorithm whose own weights, beside those of the backbone, were never trained."""
    module = learner.module
    if run.algorithm.spec.trains and isinstance(module, Model) and any(True for _ in module.head.parameters()):
        raise UsageError(
            f"{run.algorithm.name} has weights of its own, and '{run.dataset.name}' has no classes to train them on; "
            "use --checkpoint, or another algorithm"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
