"""Reading official archives without trusting them: nothing is extracted, every member is checked.

Both readers give files by their path inside the archive, so a loader can take the official zip or the
folder that a user extracted from it.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path, PureWindowsPath
from types import TracebackType
from typing import Self

from metabench.errors import MetabenchError

MEMBER_LIMIT = 64 << 20
TOTAL_LIMIT = 4 << 30
_ENCRYPTED = 0x1
_REMEDY = "delete it and get the official file again"
# The two methods whose unpacking zipfile bounds by the size asked for.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


class Members(ABC):
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


class SafeZip(Members):
    """A zip whose members are checked when it is opened and read straight into memory.

    Args:
        path: the zip file.
        member_limit: most bytes that one member may unpack to.
        total_limit: most bytes that all members may unpack to.

    Raises:
        MetabenchError: damaged, or a member has an unsafe path, is a link, is encrypted or too large.
    """

    def __init__(self, path: Path, member_limit: int = MEMBER_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        """Open the zip and check its list of members."""
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        try:
            self._members = self._checked(member_limit, total_limit)
        except MetabenchError:
            self._zip.close()
            raise

    def _checked(self, member_limit: int, total_limit: int) -> dict[str, zipfile.ZipInfo]:
        total, members = 0, {}
        for info in self._zip.infolist():
            total += info.file_size
            reason = _unsafe(info)
            if info.file_size > member_limit or total > total_limit:
                reason = "unpacks to more than is allowed"
            if reason:
                raise MetabenchError(f"{self.path}: member {info.filename[:200]!r} {reason}; {_REMEDY}")
            if not info.is_dir():
                members[info.filename] = info
        return members

    def names(self) -> list[str]:
        """Return the path of every member that is a file, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return the bytes of member `name`, its length and CRC checked.

        Raises:
            MetabenchError: no such member, or it is damaged.
        """
        if name not in self._members:
            raise MetabenchError(f"{self.path}: has no {name!r}; {_REMEDY}")
        info = self._members[name]
        try:
            with self._zip.open(info) as stream:
                # Asking for a size bounds the unpacking, even of a member that lies about its own.
                data = stream.read(info.file_size + 1)
        except _DAMAGE as error:
            raise _damaged(self.path, error) from error
        if len(data) != info.file_size:
            raise MetabenchError(f"{self.path}: member {name!r} is cut short; {_REMEDY}")
        return data

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


class Folder(Members):
    """The files of an extracted archive: names start with the folder's own name, as in the zip."""

    def __init__(self, path: Path) -> None:
        """List the files below `path`."""
        super().__init__(path)
        files = (file for file in path.rglob("*") if file.is_file())
        self._files = {f"{path.name}/{file.relative_to(path).as_posix()}": file for file in files}

    def names(self) -> list[str]:
        """Return the path of every file, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """Return the bytes of the file `name` (one of `names`); MetabenchError if that fails."""
        try:
            return self._files[name].read_bytes()
        except (KeyError, OSError) as error:
            raise MetabenchError(
                f"{self.path.parent / name}: cannot be read; extract the official archive again"
            ) from error

    def close(self) -> None:
        """Nothing is open."""


def open_members(path: Path) -> Members:
    """Return a reader for `path`, a zip or an extracted folder."""
    return Folder(path) if path.is_dir() else SafeZip(path)


def _unsafe(info: zipfile.ZipInfo) -> str:
    """Return why a member must not be used, or an empty string."""
    # Windows' reading of a path knows both separators and drive letters, so it is the stricter one.
    path = PureWindowsPath(info.filename)
    if path.anchor or ".." in path.parts:
        return "has a path outside the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed by an unusual method"
    return ""


def _damaged(path: Path, error: Exception) -> MetabenchError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return MetabenchError(f"{path}: not a readable zip ({reason}); {_REMEDY}")
