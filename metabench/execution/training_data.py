"""The data that a file of weights was trained on, as far as the store or the file says which they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metabench.errors import MetabenchError
from metabench.planning.run_spec import RunSpec
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.records.inputs import PluginInputs, TrainingInputs
from metabench.registry.resolved import ResolvedPlugin, resolve_params

if TYPE_CHECKING:
    from metabench.execution.session import Session


def seen_by(sha256: str, run: RunSpec, session: Session) -> list[tuple[ResolvedPlugin, str]]:
    """Return the splits that weights learned from or were chosen by; empty where nothing here says it.

    A record in the store says it of the weights that its run made, by the digests of the data. A file from elsewhere
    names its data only, which is enough where those are the measured ones and have published digests.

    Args:
        sha256: of the file.
        run: that is measured with it.
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
    return [(run.dataset, split) for split in ("train", "val") if split in session.splits(run.dataset)]


def _of_training(
    training: TrainingInputs, measured: PluginInputs, run: RunSpec, session: Session
) -> list[tuple[ResolvedPlugin, str]]:
    """Return the splits behind the digests of a training, those that are here and need no download."""
    found = []
    for split, digest in training.digests.items():
        learned_from = _dataset(training.dataset or measured, digest, session)
        for dataset in (run.dataset, learned_from):
            if dataset is not None and ((session.known_digests(dataset) or {}).get(split) == digest):
                found.append((dataset, split))
                break
    return found


def _dataset(recorded: PluginInputs, digest: str, session: Session) -> ResolvedPlugin | None:
    """Return the user's own data set behind a record, where it was on this machine."""
    places = session.place_of(digest)
    spec = session.registry.datasets.get(recorded.name.partition(":")[0])
    if spec is None or not places:
        return None
    try:
        return ResolvedPlugin(spec, resolve_params(spec, {**recorded.params, **places}))
    except MetabenchError:  # parameters of another version
        return None
