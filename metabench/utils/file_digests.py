"""The digest of a file, in a file beside it: a disk that changes or loses a number is noticed."""

from __future__ import annotations

from pathlib import Path

from metabench.utils.atomic_files import write_atomic
from metabench.utils.bounded_files import read_bounded
from metabench.utils.hashing import file_sha256

_BYTES = 100


def write_digest(path: Path) -> None:
    """Keep the digest of the file at `path`."""
    write_atomic(_beside(path), file_sha256(path))


def forget_digest(path: Path) -> None:
    """Delete the digest of the file at `path`, before another takes its place."""
    _beside(path).unlink(missing_ok=True)


def is_unchanged(path: Path) -> bool:
    """Return whether the file at `path` is the one whose digest was kept; True where none was."""
    try:
        written = read_bounded(_beside(path), _BYTES, ValueError)
    except (OSError, ValueError):
        return True
    return written.decode(errors="replace") == file_sha256(path)


def _beside(path: Path) -> Path:
    return path.with_suffix(".sha256")
