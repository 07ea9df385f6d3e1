"""From arguments of `predict` to a checked request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.data.image_decoding import Form
from metabench.errors import UsageError
from metabench.planning.planner import choose_parts
from metabench.records.checkpoint_metadata import tensors_meta
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.utils.weight_files import require_weights_file

if TYPE_CHECKING:
    from metabench.evaluation.prediction import Request


ALGORITHM = "protonet"


def request_of(
    registry: Registry,
    support: Path,
    query: Sequence[Path],
    algo: str = "",
    backbone: str = "",
    checkpoint: Path | None = None,
    settings: Mapping[str, Value] | None = None,
    size: int = 84,
    fit: str = "crop",
    colour: str = "rgb",
    one_by_one: bool = False,
    skip_bad: bool = False,
    device: str = "auto",
) -> Request:
    """Resolve names and settings.

    Raises:
        UsageError, MissingError: an unknown name, a bad value, no such checkpoint.
    """
    from metabench.evaluation.prediction import Request  # loads torch

    if not query:
        raise UsageError("--query: give image files, or folders of them")
    if checkpoint is not None:
        require_weights_file(checkpoint, f"no checkpoint at {checkpoint}; --checkpoint takes a .safetensors file")
    trained = {} if checkpoint is None else _made_for(tensors_meta(checkpoint))
    if trained and algo in ("", trained["algorithm"]["name"]):
        algo, backbone = trained["algorithm"]["name"], backbone or trained["backbone"]["name"]
    algo = algo or ALGORITHM
    algorithm, body = choose_parts(registry, algo, backbone, settings or {}, trained)
    form = Form(size, fit, colour)
    return Request(support, query, algorithm, body, checkpoint, form, one_by_one, skip_bad, device)


def _made_for(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of weights says was trained; {} where it does not say it as `metabench run` does."""
    parts = {part: meta.get(part) for part in ("algorithm", "backbone")}
    told = (
        isinstance(part, dict) and isinstance(part.get("name"), str) and isinstance(part.get("params"), dict)
        for part in parts.values()
    )
    return parts if all(told) else {}
