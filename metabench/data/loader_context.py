"""Context of a dataset's loader: folders, download permission, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataContext:
    """Folders that a dataset may read and write, and its callbacks.

    Attributes:
        cache: a folder of the dataset's own for what it decodes; created on demand.
        sources: folders that may hold the user's own copies of official files, in order of preference.
        allow_download: whether missing files may be fetched.
        progress: ``progress(text, done, total)``, may be called as often as wanted.
        note: takes a line that the user should read.
        wants: is told the name of each official file that is to be downloaded, whether that is allowed or not.
    """

    cache: Path
    sources: tuple[Path, ...] = ()
    allow_download: bool = False
    progress: Callable[[str, int, int], None] = lambda text, done, total: None
    note: Callable[[str], None] = lambda text: None
    wants: Callable[[str], None] = lambda file: None
