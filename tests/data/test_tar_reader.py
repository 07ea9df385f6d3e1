import gzip
import io
import tarfile

import pytest

from metabench.data.archives import open_archive
from metabench.data.tar_reader import TarReader
from metabench.errors import MetabenchError

CONTENT = b"pixels " * 2000


def make_tar(path, members, mode="w:gz"):
    """Members are (name or TarInfo, bytes)."""
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def error_of(path, **limits):
    with pytest.raises(MetabenchError) as caught, TarReader(path, **limits) as archive:
        for name in archive.names():
            archive.read(name)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and "official" in message
    return message


@pytest.mark.parametrize(("name", "mode"), [("set.tar", "w"), ("set.tgz", "w:gz"), ("set.tar.gz", "w:gz")])
def test_tar_and_extracted_folder_read_the_same(tmp_path, name, mode):
    folder = tarfile.TarInfo("set/a")
    folder.type = tarfile.DIRTYPE
    path = make_tar(tmp_path / name, [("set/b.png", CONTENT), (folder, b""), ("set/a/c.png", b"c")], mode)
    with tarfile.open(path) as archive:
        filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from Python 3.11.4 on
        archive.extractall(tmp_path, **filters)
    with open_archive(path) as packed, open_archive(tmp_path / "set") as extracted:
        assert packed.names() == extracted.names() == ["set/a/c.png", "set/b.png"]
        for member in reversed(packed.names()):
            assert packed.read(member) == extracted.read(member)
        with pytest.raises(MetabenchError, match="has no 'set/x'"):
            packed.read("set/x")


def test_names_without_a_leading_dot(tmp_path):
    with TarReader(make_tar(tmp_path / "set.tgz", [("./set/a", b"x")])) as archive:
        assert archive.names() == ["set/a"] and archive.read("set/a") == b"x"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil"])
def test_paths_that_leave_the_archive_are_refused(tmp_path, name):
    assert "outside the archive" in error_of(make_tar(tmp_path / "evil.tgz", [("fine", b"x"), (name, b"x")]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_only_files_and_folders(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    assert "neither a file nor a folder" in error_of(make_tar(tmp_path / "evil.tgz", [(info, b"")]))


def test_limits_on_one_member_and_on_all(tmp_path):
    path = make_tar(tmp_path / "bomb.tgz", [("a", bytes(1000)), ("b", bytes(1000))])
    assert "'a' unpacks to more than 999 bytes; get the official file again" in error_of(path, member_limit=999)
    assert "unpacks to more than 1,999 bytes. Get the official file again, or extract it" in error_of(
        path, total_limit=1999
    )
    with TarReader(path, member_limit=1000, total_limit=2000) as archive:
        assert len(archive.read("a")) == 1000


def test_a_compressed_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    assert "unpacks to more than 2,000,000 bytes" in error_of(path, total_limit=1_000_000)


@pytest.mark.parametrize("keep", [3, 40, 200, -60])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_truncated(tmp_path, keep, mode):
    data = make_tar(tmp_path / "whole.tar", [("a", bytes(range(256)) * 40)], mode).read_bytes()
    path = tmp_path / ("short.tgz" if mode == "w:gz" else "short.tar")
    path.write_bytes(data[:keep] if mode == "w:gz" or keep > 0 else data[:4000])
    assert "not a readable tar" in error_of(path) or "cut short" in error_of(path)


def test_not_a_tar(tmp_path):
    path = tmp_path / "page.tar.gz"
    path.write_bytes(b"<html>not found</html>")
    assert "not a readable tar" in error_of(path)
