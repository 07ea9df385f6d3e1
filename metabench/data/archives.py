"""Reading official archives without trusting them: nothing is extracted, every member is checked.

All readers give files by their path inside the archive, so a loader can take the official zip or tar, or the
folder that a user extracted from it.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path, PureWindowsPath
from types import TracebackType
from typing import BinaryIO, Self

from metabench.errors import MetabenchError

MEMBER_LIMIT = 64 << 20
TOTAL_LIMIT = 4 << 30
MEMBERS_LIMIT = 1_000_000
TAR = (".tar", ".tgz", ".tar.gz")
_ENCRYPTED = 0x1
_REMEDY = "get the official file again"
# The two methods whose unpacking zipfile bounds by the size asked for.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, ValueError
)  # fmt: skip
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20


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
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        try:
            self._members = self._checked(member_limit, total_limit)
        except MetabenchError:
            self._file.close()
            raise
        except _DAMAGE as error:
            self._file.close()
            raise _damaged(path, error) from error

    def _checked(self, member_limit: int, total_limit: int) -> dict[str, tuple[int, int]]:
        total, members = 0, dict[str, tuple[int, int]]()
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for info in archive:
                total += info.size
                reason = _leaves(info.name)
                if not (info.isreg() or info.isdir()) or info.issparse():
                    reason = "is neither a file nor a folder"
                if info.size > member_limit or total > total_limit or len(members) > MEMBERS_LIMIT:
                    reason = "unpacks to more than is allowed"
                if reason:
                    raise MetabenchError(f"{self.path}: member {info.name[:200]!r} {reason}; {_REMEDY}")
                if info.isreg():
                    members[info.name.removeprefix("./")] = (info.offset_data, info.size)
        return members

    def names(self) -> list[str]:
        """Return the path of every member that is a file, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return the bytes of member `name`; MetabenchError if there is no such member, or it is cut short."""
        if name not in self._members:
            raise MetabenchError(f"{self.path}: has no {name!r}; {_REMEDY}")
        offset, size = self._members[name]
        with self._reading:  # threads share the place in the file
            self._file.seek(offset)
            data = self._file.read(size)
        if len(data) != size:
            raise MetabenchError(f"{self.path}: member {name!r} is cut short; {_REMEDY}")
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
                if out.tell() > max(2 * limit, _BLOCK):
                    raise ValueError("it unpacks to more than is allowed")
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


class FolderReader(ArchiveReader):
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


def open_archive(
    path: Path, member_limit: int = MEMBER_LIMIT, total_limit: int = TOTAL_LIMIT, scratch: Path | None = None
) -> ArchiveReader:
    """Return a reader for `path`: a zip, a tar (by its name) or an extracted folder, for one thread or several.

    The limits are for archives, `scratch` is for compressed tars (`TarReader`).
    """
    if path.is_dir():
        return FolderReader(path)
    if path.name.endswith(TAR):
        return TarReader(path, member_limit, total_limit, scratch)
    return ZipReader(path, member_limit, total_limit)


def _unsafe(info: zipfile.ZipInfo) -> str:
    """Return why a member must not be used, or an empty string."""
    if reason := _leaves(info.filename):
        return reason
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed by an unusual method"
    return ""


def _leaves(name: str) -> str:
    """Return what is wrong with the path of a member, or an empty string."""
    # Windows' reading of a path knows both separators and drive letters, so it is the stricter one.
    path = PureWindowsPath(name)
    return "has a path outside the archive" if path.anchor or ".." in path.parts else ""


def _damaged(path: Path, error: Exception) -> MetabenchError:
    reason = " ".join(str(error).split()) or type(error).__name__
    kind = "tar" if path.name.endswith(TAR) else "zip"
    return MetabenchError(f"{path}: not a readable {kind} ({reason}); {_REMEDY}")
