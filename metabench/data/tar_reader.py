"""Tar files, plain or compressed by gzip, whose members are checked before any is read."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

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

MEMBERS_LIMIT = 1_000_000
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20


class TarReader(ArchiveReader):
    """A tar, plain or compressed by gzip, whose members are checked when it is opened.

    A compressed one is first unpacked into a temporary file without a name, so that members can be read in any order.

    Args:
        path: the tar file.
        member_limit: most bytes that one member may have.
        total_limit: most bytes that it may unpack to.
        scratch: folder of the temporary file; the system's where not given.

    Raises:
        MetabenchError: damaged, or a member has an unsafe path, is a link or a device, or is too large.
    """

    def __init__(
        self,
        path: Path,
        member_limit: int = MEMBER_LIMIT,
        total_limit: int = TOTAL_LIMIT,
        scratch: Path | None = None,
    ) -> None:
        """Unpack the archive and check its list of members."""
        super().__init__(path)
        self._reading = threading.Lock()
        try:
            self._file = _plain(path, total_limit, scratch)
        except DAMAGE as error:
            raise damaged(path, error) from error
        try:
            self._members = self._checked(member_limit, total_limit)
        except MetabenchError:
            self._file.close()
            raise
        except DAMAGE as error:
            self._file.close()
            raise damaged(path, error) from error

    def _checked(self, member_limit: int, total_limit: int) -> dict[str, tuple[int, int]]:
        total, members = 0, dict[str, tuple[int, int]]()
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for info in archive:
                total += info.size
                reason = path_problem(info.name)
                if not (info.isreg() or info.isdir()) or info.issparse():
                    reason = "is neither a file nor a folder"
                if info.size > member_limit:
                    reason = f"unpacks to more than {size_text(member_limit)}"
                if len(members) > MEMBERS_LIMIT:
                    reason = f"is beyond the first {MEMBERS_LIMIT:,}"
                if reason:
                    raise MetabenchError(f"{self.path}: member {info.name[:200]!r} {reason}; {REMEDY}")
                require_total(self.path, total, total_limit)
                if info.isreg():
                    members[info.name.removeprefix("./")] = (info.offset_data, info.size)
        return members

    def names(self) -> list[str]:
        """Return the path of every member that is a file, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return the bytes of member `name`; MetabenchError if there is no such member, or it is cut short."""
        if name not in self._members:
            raise MetabenchError(f"{self.path}: has no {name!r}; {REMEDY}")
        offset, size = self._members[name]
        with self._reading:  # threads share the place in the file
            self._file.seek(offset)
            data = self._file.read(size)
        if len(data) != size:
            raise MetabenchError(f"{self.path}: member {name!r} is cut short; {REMEDY}")
        return data

    def close(self) -> None:
        """Close the file, which removes what was unpacked."""
        self._file.close()


def _plain(path: Path, limit: int, scratch: Path | None) -> BinaryIO:
    """Open a tar, or unpack it if it is compressed, up to twice `limit`, since members have headers."""
    with path.open("rb") as packed:
        if packed.read(2) != _GZIP:
            return path.open("rb")
    out = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - it is what is returned
    try:
        with gzip.open(path) as stream:
            while block := stream.read(_BLOCK):
                _write(out, block, path, scratch)
                require_total(path, out.tell(), max(2 * limit, _BLOCK))
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def _write(out: BinaryIO, block: bytes, path: Path, scratch: Path | None) -> None:
    try:
        out.write(block)
        out.flush()
    except OSError as error:  # no fault of the archive's
        raise MetabenchError(
            f"{path}: there is no room to unpack it in {scratch or tempfile.gettempdir()} "
            f"({error.strerror or error}); free space there, or extract it yourself"
        ) from error
