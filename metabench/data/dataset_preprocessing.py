"""The preprocessing that makes image files like those of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.data.image_decoding import COLOUR_MODES, FORM, ImagePreprocessing
from metabench.errors import UsageError
from metabench.registry.specs import DatasetSpec


def dataset_preprocessing(spec: DatasetSpec, params: Mapping[str, Any]) -> ImagePreprocessing | None:
    """Return the size, fit and channels of the images of a dataset.

    Args:
        spec: of the dataset.
        params: its parameters; ``size``, ``fit`` and ``colour`` count where it has them, else its `image_shape`.

    Returns:
        None for a dataset whose items are no square images of one or three channels.
    """
    if spec.kind != "images" or len(spec.image_shape) != 3:
        return None
    channels, height, width = spec.image_shape
    if height != width or channels not in (1, 3):
        return None
    form = {"size": height, "colour": COLOUR_MODES[0] if channels == 3 else COLOUR_MODES[1]}
    return read_preprocessing({**form, **{name: params[name] for name in FORM if name in params}})


def read_preprocessing(form: Any) -> ImagePreprocessing | None:
    """Return the preprocessing with these fields; None where they are not its own or out of range."""
    try:
        made = ImagePreprocessing(**form)
    except (TypeError, UsageError):
        return None
    return made if type(made.size) is int else None
