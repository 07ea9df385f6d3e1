"""Metadata in the header of a checkpoint, read without loading its tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, MissingError
from metabench.utils.paths import is_file


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
            meta: dict[str, Any] = json.loads((stream.metadata() or {}).get("metabench", "{}"))
            return meta
    except (OSError, SafetensorError, ValueError) as error:
        raise MetabenchError(f"{path} is not a readable safetensors checkpoint ({error})") from error
