"""The data that a file of weights was trained on, where the store or the file names them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metabench.errors import MetabenchError
from metabench.planning.run_spec import RunSpec
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.records.inputs import PluginInputs, TrainingInputs
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.registry.specs import DatasetSpec

if TYPE_CHECKING:
    from metabench.execution.session import Session


def seen_by(sha256: str, run: RunSpec, session: Session) -> list[tuple[ResolvedPlugin[DatasetSpec], str]]:
    """Return the splits that weights were trained on or chosen by; empty where that is unknown here.

    A record in the store names the data of the weights that its run trained by their digests. A file from elsewhere
    has only the name of its data, which is enough where they are the measured data and have published digests.

    Args:
        sha256: of the file.
        run: measured with the weights.
        session: has the store and the data.
    """
    for record in session.store.records():
        training = record.inputs.training
        if record.weights_sha256 == sha256 and training is not None and training.digests:
            return _of_training(training, record.inputs.dataset, run, session)
    file = run.checkpoint or run.backbone.weights
    if file is None or run.dataset.spec.local:
        return []
    named = str(tensors_meta(Path(file)).get("made_for", ""))
    if not named.endswith(f", data {run.dataset.words}"):
        return []
    return [(run.dataset, split) for split in ("train", "val") if split in session.loader.splits(run.dataset)]


def _of_training(
    training: TrainingInputs, measured: PluginInputs, run: RunSpec, session: Session
) -> list[tuple[ResolvedPlugin[DatasetSpec], str]]:
    """Return the splits behind the digests of a training that are here and need no download."""
    splits = []
    for split, digest in training.digests.items():
        learned_from = _dataset(training.dataset or measured, digest, session)
        for dataset in (run.dataset, learned_from):
            if dataset is not None and ((session.loader.known_digests(dataset) or {}).get(split) == digest):
                splits.append((dataset, split))
                break
    return splits


def _dataset(recorded: PluginInputs, digest: str, session: Session) -> ResolvedPlugin[DatasetSpec] | None:
    """Return the user's own dataset behind a record; None where it was never on this machine."""
    places = session.loader.places.find(digest)
    spec = session.registry.datasets.get(recorded.name.partition(":")[0])
    if spec is None or not places:
        return None
    try:
        return ResolvedPlugin(spec, resolve_params(spec, {**recorded.params, **places}))
    except MetabenchError:  # parameters of another version
        return None
