"""The fingerprint of what scores a run, and the description that its weights carry."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from metabench.data.dataset_preprocessing import dataset_preprocessing
from metabench.episodes.source import EpisodeSource
from metabench.learners.base import Learner
from metabench.models.checkpoints import STUDIED
from metabench.models.fingerprints import weights_digest
from metabench.planning.run_spec import RunSpec
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import AlgorithmSpec
from metabench.registry.stage import Stage
from metabench.utils.hashing import content_key, file_sha256


def scorer_digest(learner: Learner, source: EpisodeSource) -> str:
    """Return a SHA-256 of the weights and the plugin files that score the episodes of a run."""
    module = learner.module
    kinds = {type(part) for part in (*module.children(), module, source.protocol, learner.frozen)}
    modules = {getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in kinds}
    files = sorted(file for file in modules if file is not None and Path(file).is_file())
    return content_key([weights_digest(module), [file_sha256(Path(file)) for file in files]])


def made_for(run: RunSpec) -> dict[str, Any]:
    """Return what a file of weights says of its run: in words, and for `metabench predict` as names and parameters."""
    return {**_made_for(run, run.algorithm), **({STUDIED: True} if run.uses_base else {})}


def made_for_stage(run: RunSpec, stage: Stage) -> dict[str, Any]:
    """Return what a file of the weights of a stage says of its run; of a stage of classes, which backbone it is."""
    if stage.is_episodic:
        return _made_for(run, (run.trained_as or run.algorithm).as_trained)
    return {
        **_trained_images(run),
        "made_for": f"classification on {run.backbone.words}, data {run.trained_on.words}",
        "backbone": {"name": run.backbone.name, "params": run.backbone.recorded},
    }


def _made_for(run: RunSpec, algorithm: ResolvedPlugin[AlgorithmSpec]) -> dict[str, Any]:
    own = {"way": run.protocol.params["way"]} if algorithm.spec.ways == "one" else {}
    return {
        **own,
        **_trained_images(run),
        "made_for": f"{algorithm.words} on {run.backbone.words}, data {run.trained_on.words}",
        "algorithm": {"name": algorithm.name, "params": algorithm.recorded},
        "backbone": {"name": run.backbone.name, "params": run.backbone.recorded},
    }


def _trained_images(run: RunSpec) -> dict[str, Any]:
    """Return size, fit and channels of the images that a run is trained on; {} where these are no square images."""
    form = dataset_preprocessing(run.trained_on.spec, run.trained_on.params)
    return {} if form is None else {"images": dataclasses.asdict(form)}
