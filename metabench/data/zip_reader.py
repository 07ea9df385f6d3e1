"""Zip files whose members are checked before any is read."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from metabench.data.archive_reader import (
    DAMAGE,
    MEMBER_LIMIT,
    REMEDY,
    TOTAL_LIMIT,
    ArchiveReader,
    damaged,
    path_problem,
    require_total,
)
from metabench.errors import MetabenchError
from metabench.utils.text import size_text

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The two methods whose unpacking zipfile bounds by the size asked for."""


class ZipReader(ArchiveReader):
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
        except DAMAGE as error:
            raise damaged(path, error) from error
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
            if info.file_size > member_limit:
                reason = f"unpacks to more than {size_text(member_limit)}"
            if reason:
                raise MetabenchError(f"{self.path}: member {info.filename[:200]!r} {reason}; {REMEDY}")
            require_total(self.path, total, total_limit)
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
            raise MetabenchError(f"{self.path}: has no {name!r}; {REMEDY}")
        info = self._members[name]
        try:
            with self._zip.open(info) as stream:
                # Asking for a size bounds the unpacking, even of a member that lies about its own.
                data = stream.read(info.file_size + 1)
        except DAMAGE as error:
            raise damaged(self.path, error) from error
        if len(data) != info.file_size:
            raise MetabenchError(f"{self.path}: member {name!r} is cut short; {REMEDY}")
        return data

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def _unsafe(info: zipfile.ZipInfo) -> str:
    """Return why a member must not be used, or an empty string."""
    if reason := path_problem(info.filename):
        return reason
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed by an unusual method"
    return ""
