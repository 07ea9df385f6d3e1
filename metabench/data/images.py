"""One encoded image to pixels, checked: what data sets of image files with a published form are read by."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metabench.data.rows import Unusable

COLOURS = {"RGB": 3, "L": 1}
"""Pillow's mode to the number of channels."""
_GREYS_AND_RGB = ("RGB", "L")


def decode_exactly(data: bytes, size: tuple[int, int], mode: str = "RGB") -> NDArray[np.uint8]:
    """Return an image that must have this size already, uint8 (height, width, channels).

    Args:
        data: of a JPEG or PNG file.
        size: (width, height).
        mode: ``RGB`` or ``L``. Grey files are read as RGB too, other modes are refused.

    Raises:
        Unusable: it is damaged, or of another size or mode.
    """

    def take(image: Image) -> Image:
        if image.size != size:
            raise Unusable(f"is {image.width}x{image.height} instead of {size[0]}x{size[1]}")
        return image

    return decode(data, take, mode)
