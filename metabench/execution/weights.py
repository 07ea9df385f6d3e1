"""The weights of a run: loaded from a checkpoint or the store, or trained stage by stage and kept for other runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metabench.errors import MetabenchError
from metabench.execution.active_run import ActiveRun
from metabench.execution.feature_cache import SplitImages
from metabench.execution.run_data import withheld_images
from metabench.execution.run_fingerprints import made_for, made_for_stage
from metabench.execution.stage_training import train_stage
from metabench.learners.factory import load_checkpoint
from metabench.models.assembly import Model
from metabench.models.checkpoints import load_body, load_tensors, load_weights, save_tensors
from metabench.utils.atomic_files import write_atomic
from metabench.utils.bounded_files import read_bounded
from metabench.utils.console import Console
from metabench.utils.file_digests import forget_digest, is_unchanged, write_digest
from metabench.utils.hashing import file_sha256
from metabench.utils.home import Home

_SECONDS = "seconds.txt"
"""Name of the file beside weights that holds the seconds of their training."""
_SECONDS_BYTES = 100


def prepare_weights(active: ActiveRun) -> dict[str, Any] | None:
    """Load the weights of a run into its learner, training them if needed; return the record's `training`.

    Returns:
        The course of the training and the digest of the weights; None where nothing is trained.

    Raises:
        Diverged: the training did.
        KeyboardInterrupt: the user stopped; the training resumes where it was.
    """
    run, model = active.run, active.learner.module
    if run.checkpoint is not None:
        load_checkpoint(active.learner, run.checkpoint)
        return {"checkpoint": run.checkpoint.name, "weights_sha256": run.checkpoint_sha256}
    if not run.stages:
        if run.uses_base:
            _study(active)
        return None
    keys = run.stage_keys(active.digests)
    training = _prepare_stage(active, keys, len(keys) - 1)
    home, key = active.session.home, keys[-1]
    timed = _with_seconds(training, key, home)
    if "before" in training:
        timed["before"] = [_with_seconds(stage, stage["training_key"], home) for stage in training["before"]]
    trained = home.weights(key)
    if run.weights_are_assembled:
        key = run.assembled_key(active.digests)
        trained = _assemble(active, trained, key, training)
    load_weights(model, trained)
    return {**timed, "weights_sha256": file_sha256(trained), "training_key": key}


def _prepare_stage(active: ActiveRun, keys: list[str], index: int) -> dict[str, Any]:
    """Train a stage, and those before it, where its weights are not there; return the course of all of them."""
    run, stage, key = active.run, active.run.stages[index], keys[index]
    home = active.session.home
    weights = home.weights(key)
    folder, seconds = weights.parent, weights.with_name(_SECONDS)
    with active.session.store.lock(key):
        meta = _readable(weights, active.learner.module if run.fits(index) else None, active.session.console)
        if meta is None:
            before = _before(active, keys, index) if index else {}
            start = home.weights(keys[index - 1]) if index else None
            tensors, course = train_stage(active, index, folder, start)
            # Not into the file of weights: the same training gives the same file, however long it took.
            write_atomic(seconds, str(course.pop("seconds")))
            meta = {**made_for_stage(run, stage), "training": {**course, **before}, "source": stage.source}
            _keep(weights, tensors, meta)
            (folder / "state.safetensors").unlink(missing_ok=True)
    training: dict[str, Any] = meta["training"]
    return training


def _before(active: ActiveRun, keys: list[str], index: int) -> dict[str, Any]:
    """Train the stages before one where they are not there; return their courses as the file of that one holds them."""
    training = _prepare_stage(active, keys, index - 1)
    before, key = training.pop("before", []), keys[index - 1]
    digest = file_sha256(active.session.home.weights(key))
    last = {"name": active.run.stages[index - 1].name, **training, "weights_sha256": digest, "training_key": key}
    return {"before": [*before, last]}


def _with_seconds(course: Mapping[str, Any], key: str, home: Home) -> dict[str, Any]:
    """Return the course of a stage with the seconds that it took, where they are known here."""
    try:
        seconds = float(read_bounded(home.weights(key).with_name(_SECONDS), _SECONDS_BYTES, ValueError))
    except (OSError, ValueError):
        return dict(course)
    return {**course, "seconds": seconds} if 0 <= seconds < math.inf else dict(course)


def _readable(weights: Path, model: nn.Module | None, console: Console) -> dict[str, Any] | None:
    """Return what a file of weights says of its training; None, with a warning, where it cannot be read.

    Args:
        weights: a file, or none yet.
        model: takes the weights of the last stage; None where there is nothing that they must fit.
    """
    if not weights.exists():
        return None
    try:
        meta = load_tensors(weights)[1]
        if not is_unchanged(weights):  # asked before the model has them, which is trained again
            raise MetabenchError(f"{weights} is damaged: it is not the file that was written")
        return meta if model is None else load_weights(model, weights)
    except MetabenchError as error:
        console.warn(f"{error}; training again")
        return None


def _keep(weights: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a file of weights and its digest; killed between the two, it leaves weights without one."""
    forget_digest(weights)
    save_tensors(weights, tensors, meta)
    write_digest(weights)


def _assemble(active: ActiveRun, trained: Path, key: str, training: dict[str, Any]) -> Path:
    """Return the file of the weights that are evaluated: a trained backbone, and what its head studied."""
    run, model = active.run, active.learner.module
    weights = active.session.home.weights(key)
    with active.session.store.lock(key):
        if _readable(weights, model, active.session.console) is None:
            if run.fits(len(run.stages) - 1):
                load_weights(model, trained)
            else:
                load_body(model.get_submodule("backbone"), trained)
            if run.uses_base:
                _study(active)
            _keep(weights, model.state_dict(), {**made_for(run), "training": training})
    return weights


@torch.no_grad()
def _study(active: ActiveRun) -> None:
    """Show a head the features of the classes that it was trained on."""
    run, learner, loader = active.run, active.learner, active.session.loader
    assert isinstance(learner.module, Model)
    split = loader.split(run.trained_on, "train")
    images = SplitImages(split.images, active.digests.trained["train"])
    features = active.embedded(images)
    rows = torch.arange(len(split.images))
    if (withheld := withheld_images(run, loader, "train")) is not None:
        rows = rows[~torch.from_numpy(withheld)]
    classes = torch.from_numpy(split.class_of(rows.numpy()))
    learner.module.eval()
    learner.study(features[rows.to(features.device)], classes.to(features.device))
