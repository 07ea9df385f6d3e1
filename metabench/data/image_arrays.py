"""Decode datasets of many image files, in parallel and once, into one array."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.data.loader_context import DataContext
from metabench.data.parallel_rows import Unusable
from metabench.data.resumable_array import cached_rows, refuse_bad
from metabench.utils.bounded_files import read_bounded

if TYPE_CHECKING:
    from PIL.Image import Image  # not at run time: datasets are listed without Pillow

IMAGE_BYTES = 64 << 20
"""The most that the file of one image may have."""
_FORMATS = ("JPEG", "PNG")
_MODES = {"RGB": ("RGB", "L", "CMYK"), "L": ("L",)}
"""Mode wanted to the modes of files that Pillow converts without a choice of ours: no transparency, no palette."""
_CHANNELS = {"RGB": 3, "L": 1}


@dataclass(frozen=True)
class ImageDecoder:
    """Decoder of the images of a dataset: size, fit and colour mode.

    Attributes:
        size: side of the decoded images, which are square.
        fit: turns an image of any size into one of ``(size, size)``; None where they must have that size.
        mode: ``RGB`` (grey and CMYK files are converted) or ``L``, grey.
    """

    size: int
    fit: Callable[[Image], Image] | None = None
    mode: str = "RGB"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a decoded image."""
        return self.size, self.size, _CHANNELS[self.mode]

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Return the image in a JPEG or PNG file, uint8 `shape`.

        Raises:
            Unusable: it is damaged, or of another mode or, without `fit`, of another size.
        """
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                self._check(image)  # before anything is unpacked
                fitted = image if image.mode == self.mode else image.convert(self.mode)
                pixels = (self.fit(fitted) if self.fit else fitted).tobytes()  # a little quicker than NumPy's way
                return np.frombuffer(pixels, np.uint8).reshape(self.shape)
        except (Unusable, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
            reason = "is no JPEG or PNG" if isinstance(error, UnidentifiedImageError) else "is damaged"
            raise Unusable(reason) from error

    def _check(self, image: Image) -> None:
        if self.fit is None and image.size != (self.size, self.size):
            raise Unusable(f"is {image.width}x{image.height} instead of {self.size}x{self.size}")
        if image.mode not in _MODES[self.mode]:
            raise Unusable(f"has mode {image.mode} instead of {self.mode}")


@dataclass(frozen=True)
class FileReader:
    """Reads files by their number."""

    paths: Sequence[Path]

    def __call__(self, row: int) -> bytes:
        """Return the bytes of a file; OSError if it cannot be read, `Unusable` if it is too large for an image."""
        return read_bounded(self.paths[row], IMAGE_BYTES, Unusable)


@dataclass(frozen=True)
class _RowDecoder:
    """Makes the rows of `cached_images`."""

    read: Callable[[int], bytes]
    decoder: ImageDecoder | Callable[[int], ImageDecoder]

    def decoder_of(self, row: int) -> ImageDecoder:
        return self.decoder if isinstance(self.decoder, ImageDecoder) else self.decoder(row)

    def __call__(self, row: int) -> NDArray[np.uint8]:
        try:
            data = self.read(row)
        except OSError as error:
            raise Unusable(f"cannot be read: {error.strerror or error}") from error
        return self.decoder_of(row).decode(data)


@dataclass(frozen=True)
class ImageSource:
    """The image files of a split, in the order of the rows.

    Attributes:
        names: of the files, for messages.
        read: returns the bytes of the file of a row; called by several threads, or by several processes if it can be
            pickled, as `FileReader` can.
        what: the subject of messages: ``"mini-imagenet train: images"``.
        remedy: what to do about files that cannot be used.
    """

    names: Sequence[str]
    read: Callable[[int], bytes]
    what: str
    remedy: str


def cached_images(
    path: Path,
    decoder: ImageDecoder | Callable[[int], ImageDecoder],
    source: ImageSource,
    context: DataContext,
    *,
    plan: str,
    draft: Path | None = None,
) -> NDArray[np.uint8]:
    """Return the decoded images at `path`, uint8 (N, height, width, channels); see `resumable_array.cached_rows`.

    Args:
        path: of the array, in ``context.cache``.
        decoder: of all images; or of the one in a row, where they differ in `fit` only.
        source: the files.
        context: whose progress callback is called.
        plan: identifies the files and the decoder.
        draft: the file they are decoded into, one beside `path` where not given.

    Raises:
        MetabenchError: images cannot be used: how many, the first three and why; or `path` cannot be written.
    """
    make = _RowDecoder(source.read, decoder)
    shape = (len(source.names), *make.decoder_of(0).shape)
    finish = refuse_bad(source.what, source.names.__getitem__, source.remedy)
    with quiet_decoders():
        return cached_rows(
            path, shape, plan, make, finish, lambda done, total: context.progress("decoding", done, total), draft
        )


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep Pillow's warnings about odd but readable files out of the way; not per thread, so around all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
