"""The weights of a run: loaded from a checkpoint or the store, or trained and kept for the runs that share them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from metabench.episodes.source import EpisodeSource
from metabench.errors import MetabenchError, MissingError
from metabench.evaluation.scoring import rehearse
from metabench.execution.active_run import ActiveRun
from metabench.execution.episode_sources import training_source
from metabench.execution.feature_cache import SplitImages
from metabench.execution.progress_text import interval_text
from metabench.execution.run_fingerprints import made_for
from metabench.learners.factory import check_learner
from metabench.models.checkpoints import load_tensors, load_weights, save_tensors
from metabench.registry.metric import Metric
from metabench.training.trainer import Diverged, Progress, Trainer
from metabench.utils.atomic_files import write_atomic
from metabench.utils.bounded_files import read_bounded
from metabench.utils.console import Console, ProgressReporter
from metabench.utils.hashing import file_sha256

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
    run, model, session = active.run, active.learner.module, active.session
    if run.checkpoint is not None:
        load_weights(model, run.checkpoint)
        return {"checkpoint": run.checkpoint.name, "weights_sha256": run.checkpoint_sha256}
    if run.recipe is None:
        return None
    key = run.training_key(active.digests)
    folder = session.home.models / key
    weights, seconds = folder / "weights.safetensors", folder / _SECONDS
    with session.store.lock(key):
        if not weights.exists() or not _is_loadable(model, weights, session.console):
            state = folder / "state.safetensors"
            progress = {**vars(_train(active, state))}
            # Not into the file of weights: the same training gives the same file, however long it took.
            write_atomic(seconds, str(progress.pop("seconds")))
            meta = {**made_for(run), "training": progress, "source": run.recipe.source}
            save_tensors(weights, model.state_dict(), meta)
            state.unlink(missing_ok=True)
        training = load_weights(model, weights)["training"]
        if (duration := _read_seconds(seconds)) is not None:
            training["seconds"] = duration
    return {**training, "weights_sha256": file_sha256(weights), "training_key": key}


def _read_seconds(path: Path) -> float | None:
    """Return the seconds that a training took; None where they are not known."""
    try:
        seconds = float(read_bounded(path, _SECONDS_BYTES, ValueError))
    except (OSError, ValueError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def _is_loadable(model: nn.Module, weights: Path, console: Console) -> bool:
    """Return whether a file of weights can be read; warn where it cannot."""
    try:
        load_weights(model, weights)
    except MetabenchError as error:
        console.warn(f"{error}; training again")
        return False
    return True


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


def _train(active: ActiveRun, state: Path) -> Progress:
    """Train the learner of a run, resuming from `state` if it is there; return the course of the training."""
    run, learner, console = active.run, active.learner, active.session.console
    recipe = run.recipe
    assert recipe is not None
    validation = _training_data(active, "val") if recipe.train_on == "train" else None
    training = _training_data(active, recipe.train_on)
    metric = run.training_metric
    trainer = Trainer(learner, recipe, *training, validation, state, precision=run.precision, metric=metric)
    if note := check_learner(run, learner, recipe, trainer.source, active.session.memory.accepted()):
        console.note(f"{run.label}: {note}")
    rehearse(learner, *training)
    label = f"training {run.algorithm.name} on {run.trained_on.name}, {recipe.shot}-shot"
    if _is_resumable(state, console):
        console.note(f"{label}: resuming")
    with console.progress(label, recipe.episodes) as bar:
        try:
            return trainer.run(run.seed, _reporter(bar, metric, validation is not None))
        except Diverged as error:
            raise _with_last_good(error, trainer, state.with_name("best.safetensors"), made_for(run)) from error


def _training_data(active: ActiveRun, split: str) -> tuple[Tensor, EpisodeSource]:
    """Return what the learner is trained on, and its episodes."""
    source = training_source(active.run, active.session.loader, split, active.digests)
    return active.items(SplitImages(source.split.images, active.digests.training(split))), source


def _reporter(bar: ProgressReporter, metric: Metric, is_validated: bool) -> Callable[[Progress, float], None]:
    def report(progress: Progress, loss: float) -> None:
        validated = ""
        if progress.curve and is_validated:
            score = progress.curve[-1][f"validation_{metric.name}"]
            validated = f", validation {interval_text((score, None), metric)}"
        bar.update(progress.episode, f"loss {loss:.3f}{validated}")

    return report


def _with_last_good(error: Diverged, trainer: Trainer, path: Path, meta: Mapping[str, Any]) -> Diverged:
    """Keep the best weights of a training that diverged, and return the error with their path."""
    if not trainer.best:
        return error
    save_tensors(path, trainer.best, {**meta, "training": vars(trainer.progress)})
    episode = trainer.progress.best_episode
    return Diverged(f"{error}. The best weights before, of episode {episode}, can be used: --checkpoint {path}")
