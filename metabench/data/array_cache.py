"""Decoded arrays on disk: made once, published whole, opened as memory maps."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError
from metabench.utils.atomic_files import replacing

Build = Callable[[NDArray[np.uint8]], None]
ArrayMap = np.memmap[tuple[int, ...], np.dtype[np.uint8]]


_DAMAGED = (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, TypeError, OverflowError, MemoryError)
"""Errors of the parser of headers on damaged bytes."""


def mapped_array(path: Path) -> np.memmap[tuple[int, ...], np.dtype[Any]] | None:
    """Return the array in a file as a read-only memory map; None where the file is missing or damaged."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED:
        return None
    return array if isinstance(array, np.memmap) else None


def open_array(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the uint8 array at `path` as a read-only memory map, or None if it is not there whole.

    Looks at the header and the file's length only (no hashing), so it takes milliseconds, and a file cut
    short or of another shape counts as absent.
    """
    array = mapped_array(path)
    if array is None:
        return None
    # NumPy sets `offset` on the map; a longer file is as foreign as a shorter one.
    whole = array.shape == shape and array.dtype == np.uint8 and array.flags.c_contiguous
    if not whole or path.stat().st_size != array.offset + array.nbytes:
        return None
    return array


def cached_array(path: Path, shape: tuple[int, ...], build: Build) -> NDArray[np.uint8]:
    """Return the array at `path`, first making it with ``build(out)`` if it is not there whole.

    `build` fills `out`, uint8 of `shape`, and raises to refuse publication. Another process that wants the
    same array waits for this one. The file appears under its name only when complete, so an interrupted
    preparation leaves nothing that a later one could mistake for data. What takes longer than seconds to make
    goes on where it was interrupted with `metabench.data.resumable_array.cached_rows`.

    Raises:
        MetabenchError: the folder cannot be written; or whatever `build` raises.
    """

    def make(draft: Path) -> None:
        with replacing(path, draft=draft):
            out = create_array(draft, shape)
            build(out)
            out.flush()

    return made_once(path, shape, path.with_name(path.name + ".partial"), make)


def made_once(path: Path, shape: tuple[int, ...], draft: Path, make: Callable[[Path], None]) -> NDArray[np.uint8]:
    """Return the array at `path`; if it is not there whole, ``make(draft)`` publishes it while nobody else does.

    Raises:
        MetabenchError: the folder cannot be written; or whatever `make` raises.
    """
    array = open_array(path, shape)
    if array is not None:
        return array
    from filelock import FileLock  # here, because opening what is there needs no lock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(draft.with_suffix(".lock")):
            array = open_array(path, shape)
            if array is None:
                make(draft)
    except OSError as error:
        raise MetabenchError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another --home"
        ) from error
    array = open_array(path, shape) if array is None else array
    if array is None:
        raise MetabenchError(f"{path}: changed while it was written; run again")
    return array


def create_array(draft: Path, shape: tuple[int, ...]) -> ArrayMap:
    """Return a new uint8 array of zeros in the file `draft`, its space on the disk taken: OSError if there is none.

    Without the space, writing to the map later would kill the process.
    """
    out = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with draft.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, os.fstat(stream.fileno()).st_size))
    return out
