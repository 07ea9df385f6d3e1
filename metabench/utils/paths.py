"""What lies at a path that a user gave: nothing where no file can have the name, which is too long or no text."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def is_there(path: Path) -> bool:
    """Return whether anything is there; `Path.exists` raises OSError for a name that is too long."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Return whether it is a file, or a link to one."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Return whether it is a folder, or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_possible(path: str | os.PathLike[str]) -> bool:
    """Return whether a file can have this path: not one that is too long or holds a null character."""
    try:
        os.stat(path)  # noqa: PTH116
    except (ValueError, OSError) as error:
        return isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG
    return True
