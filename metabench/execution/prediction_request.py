"""Checking the arguments of a prediction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.data.dataset_preprocessing import dataset_preprocessing, read_preprocessing
from metabench.data.image_decoding import ImagePreprocessing
from metabench.errors import UsageError
from metabench.execution.replay import find_weights
from metabench.planning.resolve import resolve_model
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.records.loading import NamedRecord
from metabench.records.schema import Record
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.utils.home import Home
from metabench.utils.weight_files import require_weights_file

if TYPE_CHECKING:
    from metabench.evaluation.prediction import PredictionRequest


ALGORITHM = "protonet"


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A run to label images as, and the home that may have its weights."""

    named: NamedRecord
    home: Home


def choose_weights(checkpoint: Path | None, named: NamedRecord | None, home: Home) -> Path | StoredRun | None:
    """Return the one of a file of weights and a run that is given; None where neither is.

    Raises:
        UsageError: both are.
    """
    if named is None:
        return checkpoint
    if checkpoint is not None:
        raise UsageError("cannot apply --checkpoint: --run says it already. Leave out one of the two")
    return StoredRun(named, home)


def prediction_request(
    registry: Registry,
    support: Path,
    query: Sequence[Path],
    *,
    algo: str = "",
    backbone: str = "",
    checkpoint: Path | StoredRun | None = None,
    settings: Mapping[str, Value] | None = None,
    form: Mapping[str, Any] | None = None,
    one_by_one: bool = False,
    skip_bad: bool = False,
    device: str = "auto",
) -> PredictionRequest:
    """Return a request whose names and settings are resolved.

    Args:
        registry: the plugins.
        support: folder of labelled images.
        query: image files and folders.
        algo, backbone: names; '' takes those of `checkpoint`, or the defaults.
        checkpoint: file of weights, or a run that says all three; None where the backbone needs none.
        settings: parameters, by ``algo.NAME`` and ``backbone.NAME``.
        form: any of size, fit and colour of the images; the others are those of the training, or the defaults.
        one_by_one, skip_bad, device: see `PredictionRequest`.

    Raises:
        UsageError, MissingError: an unknown name, a bad value, no such checkpoint.
    """
    from metabench.evaluation.prediction import PredictionRequest  # loads torch

    if not query:
        raise UsageError("cannot read --query: no path given. Pass image files, or folders of them")
    trained: Mapping[str, Any] = {}
    images: ImagePreprocessing | None = None
    if isinstance(checkpoint, StoredRun):
        for flag, value in (("--algo", algo), ("--backbone", backbone)):
            if value:
                raise UsageError(f"cannot apply {flag}: --run says it already. Leave out one of the two")
        trained, images = _made_by(checkpoint.named.record, registry)
        checkpoint = find_weights(checkpoint.named.record, checkpoint.home, checkpoint.named.path)
    elif checkpoint is not None:
        require_weights_file(checkpoint, f"no checkpoint at {checkpoint}; --checkpoint takes a .safetensors file")
        meta = tensors_meta(checkpoint)
        trained, images = _made_for(meta), read_preprocessing(meta.get("images"))
    if trained and algo in ("", trained["algorithm"]["name"]):
        algo, backbone = trained["algorithm"]["name"], backbone or trained["backbone"]["name"]
    algo = algo or ALGORITHM
    algorithm, body = resolve_model(registry, algo, backbone, settings or {}, trained)
    preprocessing = dataclasses.replace(images or ImagePreprocessing(), **(form or {}))
    return PredictionRequest(support, query, algorithm, body, checkpoint, preprocessing, one_by_one, skip_bad, device)


def _made_by(record: Record, registry: Registry) -> tuple[dict[str, Any], ImagePreprocessing | None]:
    """Return algorithm, backbone and preprocessing of the run of a record.

    Raises:
        UsageError: it did not succeed, or its backbone started from a file of weights.
    """
    inputs, key = record.inputs, record.short_key
    if record.status != "ok":
        raise UsageError(f"cannot label images as run {key}: it is {record.status}. Name a run that succeeded")
    if inputs.backbone.weights_sha256 and inputs.training is None:
        raise UsageError(
            f"cannot label images as run {key}: the weights of its backbone are in a file of yours. "
            "Pass it with --checkpoint, --algo and --backbone"
        )
    parts = {"algorithm": inputs.algorithm, "backbone": inputs.backbone}
    trained = {part: {"name": plugin.name, "params": plugin.params} for part, plugin in parts.items()}
    spec = registry.find("dataset", inputs.dataset.name.partition(":")[0])
    return trained, dataset_preprocessing(spec, inputs.dataset.params)


def _made_for(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the algorithm and backbone that a file of weights names; {} where it does not name both properly."""
    parts = {part: meta.get(part) for part in ("algorithm", "backbone")}
    proper = (
        isinstance(part, dict) and isinstance(part.get("name"), str) and isinstance(part.get("params"), dict)
        for part in parts.values()
    )
    return parts if all(proper) else {}
