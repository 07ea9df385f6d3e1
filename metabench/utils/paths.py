"""Tests of paths that a user gave: False, not an error, for names that are too long or hold a null character."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def path_exists(path: Path) -> bool:
    """Return whether the path exists; `Path.exists` raises OSError for a name that is too long."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Return whether the path is a file, or a link to one."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Return whether the path is a folder, or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_valid_path(path: str | os.PathLike[str]) -> bool:
    """Return whether a file can have this path: not one that is too long or holds a null character."""
    try:
        os.stat(path)  # noqa: PTH116
    except (ValueError, OSError) as error:
        return isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG
    return True
