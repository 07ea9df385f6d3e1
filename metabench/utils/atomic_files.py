"""Files that are replaced whole: whoever reads one finds the old content or the new, never half."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, durable: bool = True, draft: Path | None = None, keep: bool = False) -> Iterator[Path]:
    """Yield the path of a temporary file to be written, in the same folder, which becomes `path` when the block ends.

    After an error in the block `path` is as it was, and the temporary file is gone.

    Args:
        path: of the file.
        durable: wait until the content is on the disk, so that a power cut does not leave an empty file either.
        draft: the temporary file, so that one left by a killed process is written over; the caller must hold a lock.
            Not given, it has a name of its own.
        keep: leave the draft after an error, for work that goes on where it stopped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = draft or path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
    finally:
        if not keep:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return when what was written to a file, or to a map of it, is on the disk."""
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def write_atomic(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
