import io
import stat
import struct
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from metabench.data.archives import open_archive
from metabench.data.zip_reader import ZipReader
from metabench.errors import MetabenchError

CONTENT = b"pixels " * 2000


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def error_of(path, **limits):
    with pytest.raises(MetabenchError) as caught, ZipReader(path, **limits) as archive:
        for name in archive.names():
            archive.read(name)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and "official" in message
    return message


def test_zip_and_extracted_folder_read_the_same(tmp_path):
    path = make_zip(tmp_path / "set.zip", {"set/b.png": CONTENT, "set/a/c.png": b"c", "set/a/": b""})
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    with open_archive(path) as packed, open_archive(tmp_path / "set") as folder:
        assert packed.names() == folder.names() == ["set/a/c.png", "set/b.png"]
        for name in packed.names():
            assert packed.read(name) == folder.read(name)
        assert packed.read("set/b.png") == CONTENT


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "\\evil"])
def test_paths_that_leave_the_archive_are_refused(tmp_path, name):
    path = make_zip(tmp_path / "evil.zip", {"fine": b"x", name: b"x"})
    assert "outside the archive" in error_of(path)


def test_names_with_dots_are_fine(tmp_path):
    path = make_zip(tmp_path / "fine.zip", {"a..b/..c": b"x"})
    with ZipReader(path) as archive:
        assert archive.read("a..b/..c") == b"x"


def test_symlinks_are_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "symbolic link" in error_of(make_zip(tmp_path / "link.zip", {info: b"/etc/passwd"}))


def test_encrypted_members_are_refused(tmp_path):
    path = make_zip(tmp_path / "secret.zip", {"a": CONTENT})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # flag bits in the central directory
    path.write_bytes(data)
    assert "encrypted" in error_of(path)


def test_unbounded_compression_methods_are_refused(tmp_path):
    path = make_zip(tmp_path / "lzma.zip", {"a": CONTENT}, zipfile.ZIP_LZMA)
    assert "unusual method" in error_of(path)


def test_limits_on_one_member_and_on_all(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", {"a": bytes(1000), "b": bytes(1000)})
    assert "'a' unpacks to more than 999 bytes; get the official file again" in error_of(path, member_limit=999)
    assert "unpacks to more than 1,999 bytes. Get the official file again, or extract it" in error_of(
        path, total_limit=1999
    )
    with ZipReader(path, member_limit=1000, total_limit=2000) as archive:
        assert len(archive.read("a")) == 1000


def test_a_member_that_lies_about_its_size_is_not_unpacked_further(tmp_path):
    path = make_zip(tmp_path / "liar.zip", {"a": bytes(10_000_000)})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)  # uncompressed size
    path.write_bytes(data)
    assert "not a readable zip (Bad CRC" in error_of(path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_truncated_zip(tmp_path, keep):
    path = make_zip(tmp_path / "short.zip", {"a": CONTENT, "b": CONTENT}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    assert "not a readable zip" in error_of(path)


def test_changed_byte_fails_the_crc(tmp_path):
    path = make_zip(tmp_path / "bad.zip", {"a": CONTENT}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(CONTENT) + 100] ^= 1
    path.write_bytes(data)
    assert "Bad CRC" in error_of(path)


def test_corrupt_deflate_stream(tmp_path):
    path = make_zip(tmp_path / "bad.zip", {"a": CONTENT})
    data = bytearray(path.read_bytes())
    data[31:36] = b"\xff" * 5  # just after the local header of "a"
    path.write_bytes(data)
    assert "not a readable zip" in error_of(path)


def test_missing_members_and_files(tmp_path):
    path = make_zip(tmp_path / "set.zip", {"a": b"x"})
    with ZipReader(path) as archive, pytest.raises(MetabenchError, match="has no 'b'"):
        archive.read("b")
    (tmp_path / "set").mkdir()
    with open_archive(tmp_path / "set") as folder, pytest.raises(MetabenchError, match="cannot be read"):
        folder.read("../set.zip")


def test_a_tar_that_finds_no_room_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(CONTENT)
    with tarfile.open(tmp_path / "set.tgz", "w:gz") as archive:
        archive.add(tmp_path / "a", "a")

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("metabench.data.tar_reader.tempfile.TemporaryFile", lambda dir: Full())
    with pytest.raises(MetabenchError, match=r"no room to unpack it in .*scratch \(No space left on device\)"):
        open_archive(tmp_path / "set.tgz", scratch=tmp_path / "scratch")


def test_threads_read_a_tar_at_once(tmp_path):
    contents = {f"{number}": bytes([number]) * (1000 + number) for number in range(200)}
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with open_archive(tmp_path / "set.tar") as members, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(members.read, list(contents) * 5)) == list(contents.values()) * 5


def test_a_file_of_an_extracted_folder_is_bounded_as_a_member_is(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_bytes(b"x" * 101)
    with open_archive(tmp_path / "set", member_limit=101) as archive:
        assert archive.read("set/a") == b"x" * 101
    with (
        open_archive(tmp_path / "set", member_limit=100) as archive,
        pytest.raises(MetabenchError, match="larger than 100"),
    ):
        archive.read("set/a")
