"""Files that are replaced whole: whoever reads one finds the old content or the new, never half."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file to be written, in the same folder, which becomes `path` when the block ends.

    After an error in the block `path` is as it was, and the temporary file is gone.

    Args:
        durable: wait until the content is on the disk, so that a power cut does not leave an empty file either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        if durable:
            with temporary.open("r+b") as stream:
                os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
