"""Readers of official archives and extracted folders: nothing is extracted, every member is checked.

All readers give files by their path inside the archive, so a loader can take the official zip or tar, or the
folder that a user extracted from it.
"""

from __future__ import annotations

from pathlib import Path

from metabench.data.archive_reader import MEMBER_LIMIT, TAR, TOTAL_LIMIT, ArchiveReader
from metabench.data.tar_reader import TarReader
from metabench.data.zip_reader import ZipReader
from metabench.errors import MetabenchError
from metabench.utils.bounded_files import read_bounded


class FolderReader(ArchiveReader):
    """The files of an extracted archive: names start with the folder's own name, as in the zip."""

    def __init__(self, path: Path, member_limit: int = MEMBER_LIMIT) -> None:
        """List the files below `path`."""
        super().__init__(path)
        self._limit = member_limit
        files = (file for file in path.rglob("*") if file.is_file())
        self._files = {f"{path.name}/{file.relative_to(path).as_posix()}": file for file in files}

    def names(self) -> list[str]:
        """Return the path of every file, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """Return the bytes of the file `name` (one of `names`); MetabenchError if that fails, or it is too large."""
        try:
            return read_bounded(self._files[name], self._limit, MetabenchError)
        except (KeyError, OSError) as error:
            raise MetabenchError(
                f"{self.path.parent / name}: cannot be read; extract the official archive again"
            ) from error

    def close(self) -> None:
        """Do nothing: no file stays open."""


def open_archive(
    path: Path, member_limit: int = MEMBER_LIMIT, total_limit: int = TOTAL_LIMIT, scratch: Path | None = None
) -> ArchiveReader:
    """Return a reader for `path`: a zip, a tar (by its name) or an extracted folder, for one thread or several.

    `total_limit` is for archives, `scratch` for compressed tars (`TarReader`).
    """
    if path.is_dir():
        return FolderReader(path, member_limit)
    if path.name.endswith(TAR):
        return TarReader(path, member_limit, total_limit, scratch)
    return ZipReader(path, member_limit, total_limit)
