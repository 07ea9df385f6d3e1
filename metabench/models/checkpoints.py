"""Weights to and from safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.models.interfaces import FeatureHead, studied_buffers
from metabench.records.checkpoint_metadata import parse_metadata
from metabench.utils.atomic_files import replacing
from metabench.utils.paths import is_file

STUDIED = "studied"
"""Entry in the meta data of weights whose head has studied the base classes."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON `meta` as one safetensors file, atomically: the old file or the new, never half."""
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, metadata={"metabench": json.dumps(meta, sort_keys=True)})
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; nothing in the file is executed."""
    if not is_file(path):
        raise MissingError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as stream:
            meta = parse_metadata(stream.metadata())
            return {key: stream.get_tensor(key) for key in stream.keys()}, meta  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise MetabenchError(f"{path} is not a readable safetensors checkpoint ({error})") from error


def load_body(body: nn.Module, path: Path) -> None:
    """Load the weights of a backbone from a safetensors file: its ``backbone.*`` tensors where it has any, else all.

    What belongs to something else, a head or a classifier, is left out.

    Raises:
        UsageError: a tensor of the backbone is missing or has another shape, naming the first; it has none at all.
    """
    tensors, _ = load_tensors(path)
    if not body.state_dict():
        raise UsageError(
            f"cannot load weights from {path}: backbone {type(body).__name__} has none. "
            "Leave out backbone.weights, or choose another --backbone."
        )
    inner = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    weights, own = inner or tensors, body.state_dict()
    for name in own:
        if name.endswith("num_batches_tracked") and name not in weights:
            weights[name] = own[name]  # a counter, which other tools leave out
        theirs = tuple(weights[name].shape) if name in weights else "absent"
        if theirs != tuple(own[name].shape):
            raise UsageError(
                f"cannot load weights from {path}: {name} is {theirs} there and {tuple(own[name].shape)} in this "
                "backbone. Check --backbone and its --set."
            )
    body.load_state_dict({name: weights[name] for name in own})


def load_weights(model: nn.Module, path: Path) -> dict[str, Any]:
    """Load a checkpoint into `model` and return its meta data.

    Raises:
        UsageError: if its tensors are not those of `model`, naming the first that differs, or it is for another way.
    """
    tensors, meta = load_tensors(path)
    own, made_for = model.state_dict(), f" (made for {meta['made_for']})" if "made_for" in meta else ""
    way = getattr(model, "way", 0)
    if way and meta.get("way", way) != way:
        raise UsageError(
            f"checkpoint {path}{made_for} is for tasks of {meta['way']} classes, and these have {way}; check --ways"
        )
    heads = (
        (f"{name}." if name else "", part) for name, part in model.named_modules() if isinstance(part, FeatureHead)
    )
    studied = {name for prefix, head in heads for name in studied_buffers(head, tensors, prefix)}
    for name in sorted((own.keys() | tensors.keys()) - studied):
        ours = tuple(own[name].shape) if name in own else "absent"
        theirs = tuple(tensors[name].shape) if name in tensors else "absent"
        if ours != theirs:
            raise UsageError(
                f"checkpoint {path}{made_for} does not fit this architecture: "
                f"{name} is {theirs} there and {ours} here; check --ways, --backbone and --set"
            )
    model.load_state_dict(tensors)
    return meta
