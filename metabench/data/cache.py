"""Decoded arrays on disk: made once, published whole, opened as memory maps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError


def open_array(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the uint8 array at `path` as a read-only memory map, or None if it is not there whole.

    Looks at the header and the file's length only (no hashing), so it takes milliseconds, and a file cut
    short or of another shape counts as absent.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    # NumPy sets `offset` on the map; a longer file is as foreign as a shorter one.
    whole = array.shape == shape and array.dtype == np.uint8 and array.flags.c_contiguous
    if not whole or path.stat().st_size != array.offset + array.nbytes:
        return None
    return array  # type: ignore[no-any-return]


def cached_array(path: Path, shape: tuple[int, ...], build: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.uint8]:
    """Return the array at `path`, first making it with ``build(out)`` if it is not there whole.

    `build` fills `out`, uint8 of `shape`, and raises to refuse publication. Another process that wants the
    same array waits for this one. The file appears under its name only when complete, so an interrupted
    preparation leaves nothing that a later one could mistake for data.

    Raises:
        MetabenchError: the folder cannot be written; or whatever `build` raises.
    """
    found = open_array(path, shape)
    if found is not None:
        return found
    from filelock import FileLock  # here, because opening what is there needs no lock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            found = open_array(path, shape)
            if found is None:
                _publish(path, shape, build)
    except OSError as error:
        raise MetabenchError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another --home"
        ) from error
    found = open_array(path, shape) if found is None else found
    if found is None:
        raise MetabenchError(f"{path}: changed while it was written; run again")
    return found


def _publish(path: Path, shape: tuple[int, ...], build: Callable[[NDArray[np.uint8]], None]) -> None:
    """Build into a temporary file beside `path` and move it there. The caller holds the lock."""
    prefix = path.name + ".partial-"
    for left in path.parent.glob(prefix + "*"):  # of a killed process: the lock is ours, so nobody writes it
        left.unlink()
    handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        build(out)
        out.flush()
        del out
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
