"""Base class, limits, member-path checks and messages of the archive readers."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path, PureWindowsPath
from types import TracebackType
from typing import Self

from metabench.errors import MetabenchError
from metabench.utils.text import size_text

MEMBER_LIMIT = 64 << 20
"""Bytes that one member may unpack to."""
TOTAL_LIMIT = 4 << 30
"""Bytes that all members may unpack to."""
TAR = (".tar", ".tgz", ".tar.gz")
REMEDY = "get the official file again"
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, ValueError
)  # fmt: skip
"""Errors that reading a damaged archive raises."""


class ArchiveReader(ABC):
    """Files by their path inside an archive or folder; a context manager that closes it."""

    def __init__(self, path: Path) -> None:
        """Keep the archive's path, for messages."""
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """Return the path of every file, sorted."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return one file's bytes; MetabenchError if it is damaged or missing."""

    @abstractmethod
    def close(self) -> None:
        """Release what is open."""

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the archive."""
        self.close()


def path_problem(name: str) -> str:
    """Return the problem with the path of a member, '' where it stays inside the archive."""
    # Windows' reading of a path knows both separators and drive letters, so it is the stricter one.
    path = PureWindowsPath(name)
    return "has a path outside the archive" if path.anchor or ".." in path.parts else ""


def require_total(path: Path, total: int, limit: int) -> None:
    """Raise MetabenchError where an archive unpacks to more bytes than `limit`."""
    if total > limit:
        raise MetabenchError(
            f"{path}: unpacks to more than {size_text(limit)}. "
            "Get the official file again, or extract it and use the folder."
        )


def damaged(path: Path, error: Exception) -> MetabenchError:
    """Return the error for an archive that cannot be read, with the cause in one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    kind = "tar" if path.name.endswith(TAR) else "zip"
    return MetabenchError(f"{path}: not a readable {kind} ({reason}); {REMEDY}")
