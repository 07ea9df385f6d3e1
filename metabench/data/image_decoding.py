"""Image files of any format, size and mode to arrays of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.data.bit_depth import FULL, is_colour_16, is_grey_16, to_8_bits
from metabench.data.image_formats import formats_of
from metabench.data.parallel_rows import Unusable
from metabench.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image  # not at run time: datasets are listed without Pillow

FIT_MODES = ("crop", "pad", "stretch")
COLOUR_MODES = ("rgb", "grey")
_PAPER = 255  # what transparent pixels lie on, and what is beside a padded image


@dataclass(frozen=True)
class ImagePreprocessing:
    """Preprocessing that brings images of any size to one size and colour mode.

    Attributes:
        size: height and width, 8 to 1024 pixels.
        fit: ``crop``, the short side becomes `size` and the middle of the long one is kept; ``pad``, the long side
            becomes `size` and white is added; ``stretch``, both become `size`.
        colour: ``rgb`` (three channels) or ``grey`` (one).
    """

    size: int = 84
    fit: str = "crop"
    colour: str = "rgb"

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise UsageError(f"size is a whole number of pixels from 8 to 1024, not {self.size}")
        for name, word, known in (("fit", self.fit, FIT_MODES), ("colour", self.colour, COLOUR_MODES)):
            if word not in known:
                raise UsageError(f"{name} is one of {', '.join(known)}, not '{word}'")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a decoded image."""
        return self.size, self.size, 3 if self.colour == "rgb" else 1

    @property
    def words(self) -> str:
        """The three in words."""
        return f"size {self.size}, {self.fit}, {self.colour}"


FORM = tuple(field.name for field in fields(ImagePreprocessing))
"""Names of the options of the preprocessing."""


def decode_image(path: Path, form: ImagePreprocessing, bits: int = FULL) -> NDArray[np.uint8]:
    """Return an image as uint8 ``form.shape``: upright by its EXIF orientation, transparent pixels white.

    Of an animation or a file with several pages it is the first.

    Args:
        path: of the file.
        form: of the result.
        bits: how many bits images of 16 bits use; the upper 8 of those are kept, see `BitDepth`.

    Raises:
        Unusable: damaged, empty, not an image, of 32 bits, or too large to be one (179 million pixels).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=formats_of(path)) as image:
            if bits != FULL and is_colour_16(image):
                raise Unusable(f"has 16 bits per colour that use {bits}, of which Pillow keeps too few; save it with 8")
            # JPEG can be decoded at a half, quarter or eighth: never below twice the size that is wanted.
            image.draft(None, (2 * form.size, 2 * form.size))
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_fitted(_opaque(upright, form.colour, bits), form)).reshape(form.shape)
    except UnidentifiedImageError:
        raise Unusable("is no image") from None
    except (Unusable, MemoryError):
        raise
    except FileNotFoundError as error:
        raise Unusable("is a link to nothing" if path.is_symlink() else "is not there any more") from error
    except Image.DecompressionBombError as error:
        raise Unusable("has more than 179 million pixels; save it smaller") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unusable(shorten(message, 80, placeholder=" ...").strip(" .") or type(error).__name__) from error


@dataclass(frozen=True)
class ImageFileDecoder:
    """Makes the rows of `metabench.data.resumable_array.cached_rows` of files."""

    paths: Sequence[Path]
    form: ImagePreprocessing
    bits: int = FULL

    def __call__(self, row: int) -> NDArray[np.uint8]:
        """Decode a file."""
        return decode_image(self.paths[row], self.form, self.bits)


def _opaque(image: Image, colour: str, bits: int) -> Image:
    """Return the image as RGB or L of 8 bits."""
    from PIL import Image as images

    mode = "RGB" if colour == "rgb" else "L"
    if is_grey_16(image):
        return images.fromarray(to_8_bits(image, bits)).convert(mode)
    if image.mode == "F":
        raise Unusable("has 32 bits per pixel; save it with 8 or 16")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = images.new("RGBA", image.size, (_PAPER,) * 4)
        return images.alpha_composite(paper, image).convert(mode)
    if mode == "L" and image.mode not in ("L", "1"):
        image = image.convert("RGB")
    return image.convert(mode)


def _fitted(image: Image, form: ImagePreprocessing) -> Image:
    from PIL.Image import Resampling
    from PIL.ImageOps import fit, pad

    size, smooth = (form.size, form.size), Resampling.BICUBIC
    if image.size == size:
        return image
    if form.fit == "crop":
        return fit(image, size, smooth)
    if form.fit == "pad":
        return pad(image, size, smooth, color="white")
    return image.resize(size, smooth)
