"""Metadata in the header of a checkpoint, read without loading its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, MissingError
from metabench.utils.bounded_files import parse_json
from metabench.utils.paths import is_file


def parse_metadata(header: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the metadata of ours in the header of a safetensors file; ValueError where they are no JSON object."""
    meta = parse_json((header or {}).get("metabench", "{}"))
    if not isinstance(meta, dict):
        raise ValueError("its metadata are no JSON object")
    return meta


def tensors_meta(path: Path) -> dict[str, Any]:
    """Return the JSON that `checkpoints.save_tensors` wrote beside tensors, {} if there is none; reads no tensor.

    Raises:
        MissingError: there is no file. MetabenchError: it is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not is_file(path):
        raise MissingError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="np") as stream:
            return parse_metadata(stream.metadata())
    except (OSError, SafetensorError, ValueError) as error:
        raise MetabenchError(f"{path} is not a readable safetensors checkpoint ({error})") from error
