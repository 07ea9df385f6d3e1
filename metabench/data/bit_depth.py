"""Images of more than 8 bits: the one rule that brings all of a folder to 8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.data.image_formats import formats_of
from metabench.data.parallel_rows import Unusable
from metabench.data.resumable_array import cores
from metabench.utils.text import pluralise

if TYPE_CHECKING:
    from PIL.Image import Image  # not at run time: datasets are listed without Pillow

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per channel that cameras, microscopes and scanners have."""
FULL = DEPTHS[-1]


@dataclass(frozen=True)
class BitDepth:
    """Number of bits that the 16-bit images of a folder use.

    Attributes:
        images: how many images have more than 8 bits per channel.
        largest: the largest value in any of them, 0 to 65535.
    """

    images: int = 0
    largest: int = 0

    @property
    def bits(self) -> int:
        """The smallest of `DEPTHS` that holds the largest value; a pixel is divided by 2 to the (bits - 8)."""
        return next(bits for bits in DEPTHS if self.largest < 1 << bits) if self.images else FULL

    @property
    def note(self) -> str:
        """The rule as it applies to these images, '' where none has more than 8 bits."""
        if not self.images:
            return ""
        scale = f"{'all ' if self.images > 1 else ''}taken as {self.bits} bits (divided by {1 << (self.bits - 8)})"
        return f"{pluralise(self.images, 'image')} of more than 8 bits, the largest value {self.largest}: {scale}"


def measure_depth(paths: Sequence[Path], report: Callable[[int, int], None] = lambda done, total: None) -> BitDepth:
    """Return the depth of all images together; of those with 8 bits only the header is read.

    Files that cannot be read do not count; decoding them says why.

    Args:
        paths: of the images.
        report: called with images done and images in all.
    """
    report(0, len(paths))
    images = largest = 0
    pool = ThreadPoolExecutor(cores(), "measure")
    try:
        for done, value in enumerate(pool.map(_largest_value, paths), 1):
            if value is not None:
                images, largest = images + 1, max(largest, value)
            report(done, len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return BitDepth(images, largest)


def is_grey_16(image: Image) -> bool:
    """Return whether Pillow keeps more than 8 bits of an image: a grey one."""
    return image.mode.startswith("I;16") or image.mode == "I"


def is_colour_16(image: Image) -> bool:
    """Return whether an image, which must not be loaded yet, has 16 bits per channel of which Pillow keeps 8."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    rawmode = args[0] if isinstance(args, tuple) and args else args
    return not is_grey_16(image) and ";16" in str(rawmode)


def to_8_bits(image: Image, bits: int) -> NDArray[np.uint8]:
    """Return a grey image of 16 bits as uint8 (height, width): each value divided by 2 to the (`bits` - 8).

    Raises:
        Unusable: a value is below 0 or has more than `bits` bits.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0:
        raise Unusable("has negative values; save it with values from 0")
    if values.max() >= 1 << FULL:
        raise Unusable("has 32 bits per pixel; save it with 8 or 16")
    if values.max() >= 1 << bits:
        raise Unusable(f"has a value of {values.max()}, more than the {bits} bits of the others")
    return (values >> (bits - 8)).astype(np.uint8)


def _largest_value(path: Path) -> int | None:
    """Return the largest value of an image of more than 8 bits, None for others and for what cannot be read."""
    from PIL import Image

    try:
        with Image.open(path, formats=formats_of(path)) as image:
            if is_grey_16(image):
                values = np.asarray(image)
                largest = int(values.max())
                return largest if values.min() >= 0 and largest < 1 << FULL else None
            if is_colour_16(image):
                colours = image.split()[: 1 if image.mode == "LA" else 3]
                return max(int(np.asarray(band).max()) for band in colours) << 8 | 0xFF
    except Exception:  # Pillow's decoders raise nearly anything on damaged bytes
        return None
    return None
