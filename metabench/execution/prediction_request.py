"""Checking the arguments of a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.data.image_decoding import ImagePreprocessing
from metabench.errors import UsageError
from metabench.planning.resolve import resolve_model
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.utils.weight_files import require_weights_file

if TYPE_CHECKING:
    from metabench.evaluation.prediction import PredictionRequest


ALGORITHM = "protonet"


def prediction_request(
    registry: Registry,
    support: Path,
    query: Sequence[Path],
    *,
    algo: str = "",
    backbone: str = "",
    checkpoint: Path | None = None,
    settings: Mapping[str, Value] | None = None,
    form: ImagePreprocessing | None = None,
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
        checkpoint: file of weights; None where the backbone needs none.
        settings: parameters, by ``algo.NAME`` and ``backbone.NAME``.
        form: size, fit and channels of the images; None for the defaults.
        one_by_one, skip_bad, device: see `PredictionRequest`.

    Raises:
        UsageError, MissingError: an unknown name, a bad value, no such checkpoint.
    """
    from metabench.evaluation.prediction import PredictionRequest  # loads torch

    if not query:
        raise UsageError("cannot read --query: no path given. Pass image files, or folders of them")
    if checkpoint is not None:
        require_weights_file(checkpoint, f"no checkpoint at {checkpoint}; --checkpoint takes a .safetensors file")
    trained = {} if checkpoint is None else _made_for(tensors_meta(checkpoint))
    if trained and algo in ("", trained["algorithm"]["name"]):
        algo, backbone = trained["algorithm"]["name"], backbone or trained["backbone"]["name"]
    algo = algo or ALGORITHM
    algorithm, body = resolve_model(registry, algo, backbone, settings or {}, trained)
    form = form or ImagePreprocessing()
    return PredictionRequest(support, query, algorithm, body, checkpoint, form, one_by_one, skip_bad, device)


def _made_for(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the algorithm and backbone that a file of weights names; {} where it does not name both properly."""
    parts = {part: meta.get(part) for part in ("algorithm", "backbone")}
    proper = (
        isinstance(part, dict) and isinstance(part.get("name"), str) and isinstance(part.get("params"), dict)
        for part in parts.values()
    )
    return parts if all(proper) else {}
