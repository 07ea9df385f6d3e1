"""Files that others may have written are read within limits."""

import os
import socket
import threading
from pathlib import Path

import pytest

from metabench.data.image_arrays import FileReader
from metabench.data.label_tables import find_table
from metabench.data.parallel_rows import Unusable
from metabench.errors import MetabenchError, UsageError
from metabench.leaderboard.published import read_published
from metabench.planning.suites import read_suite
from metabench.records.record import read_record
from metabench.registry.local_files import read_files
from metabench.registry.registry import load_registry
from metabench.utils.bounded_files import (
    NOTE_BYTES,
    SOURCE_BYTES,
    parse_json,
    read_bounded,
    read_cached_json,
    read_toml,
)


def test_up_to_the_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(UsageError) as caught:
        read_bounded(path, 4)
    assert str(caught.value) == f"cannot read {path}: it is larger than 4 bytes. Check that it is the right file."


def test_the_error_is_the_one_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    with pytest.raises(MetabenchError) as caught:
        read_bounded(tmp_path / "file", 1, MetabenchError)
    assert type(caught.value) is MetabenchError


def test_no_more_than_the_limit_is_read_of_a_huge_file(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a terabyte of holes: reading it whole would fail for want of memory
    with pytest.raises(UsageError, match="larger than 1000 bytes"):
        read_bounded(path, 1000)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"pipe: it is a pipe or device\. Pass a regular file\."):
        read_bounded(tmp_path / "pipe", 10)


def test_a_pipe_that_takes_the_place_of_a_file_is_refused_too(tmp_path, monkeypatch):
    path, pipe = tmp_path / "file", tmp_path / "pipe"
    path.write_bytes(b"12345")
    os.mkfifo(pipe)
    seen = path.stat()
    monkeypatch.setattr(Path, "stat", lambda self, **_: seen)  # as it was a moment ago
    pipe.replace(path)
    caught = []

    def read():
        try:
            read_bounded(path, 10)
        except UsageError as error:
            caught.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    assert not reader.is_alive(), "it waits for somebody to write into the pipe"
    assert caught == [f"cannot read {path}: it is a pipe or device. Pass a regular file."]


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as place:
        place.bind("socket")
        with pytest.raises(UsageError, match="pipe or device"):
            read_bounded(Path("socket"), 10)


def test_a_device_is_refused():
    with pytest.raises(UsageError, match="pipe or device"):
        read_toml(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["absent", "folder"])
def test_what_cannot_be_opened_is_an_os_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught:
        read_bounded(tmp_path / name, 10)
    assert str(caught.value.filename) == str(tmp_path / name)


def test_toml(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes('name = "é"\r\ntext = """a\r\nb"""\r\n'.encode())
    assert read_toml(path) == {"name": "é", "text": "a\nb"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "Invalid value"),
        (b'a = "\xff"', "invalid start byte"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_toml_that_cannot_be_parsed(tmp_path, content, reason):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_toml(tmp_path / "a.toml")


def test_toml_larger_than_people_write(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"#" * (SOURCE_BYTES + 1))
    with pytest.raises(UsageError, match="larger than"):
        read_toml(tmp_path / "a.toml")


def test_json():
    assert parse_json('{"a": [1, 2]}') == {"a": [1, 2]}
    with pytest.raises(ValueError, match="Expecting property name"):
        parse_json("{]")
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 1_000_000)


def test_a_file_of_a_cache_that_cannot_be_used_counts_as_none(tmp_path):
    path = tmp_path / "cache.json"
    assert read_cached_json(path) is None
    path.write_text('{"a": [1, 2]}')
    assert read_cached_json(path) == {"a": [1, 2]}
    assert read_cached_json(path, 12) is None
    for damaged in (b"", b"{", b"\xff", b"[" * 1_000_000, b" " * (NOTE_BYTES + 1) + b"1"):
        path.write_bytes(damaged)
        assert read_cached_json(path) is None
    path.unlink()
    os.mkfifo(path)
    assert read_cached_json(path) is None


def huge(path):
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # holes
    return path


def test_suites_and_plugins_and_claims_are_bounded(tmp_path):
    doors = [
        lambda: read_suite(huge(tmp_path / "suite.toml"), load_registry()),
        lambda: read_files([huge(tmp_path / "plugin.py")]),
        lambda: read_published(huge(tmp_path / "published.csv")),
        lambda: read_record(huge(tmp_path / "record.json")),
    ]
    for door in doors:
        with pytest.raises(MetabenchError, match=r"^cannot read .*: it is larger than \d+ bytes\. Check") as caught:
            door()
        assert "\n" not in str(caught.value)


def test_a_table_of_labels_and_an_image_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("metabench.data.label_tables.TABLE_BYTES", 20)
    (tmp_path / "labels.csv").write_text("filename,label\na.png,b\n")
    with pytest.raises(UsageError, match=r"labels\.csv: it is larger than 20 bytes"):
        find_table(tmp_path, "folder:x")
    with pytest.raises(Unusable, match=r"it is larger than 67108864 bytes"):
        FileReader([huge(tmp_path / "a.png")])(0)


@pytest.mark.parametrize(
    "key", [".".join(["a"] * 200_000) + " = 1", f"[{'.'.join(['a'] * 200_000)}]", '"a" . ' * 100_000]
)
def test_keys_of_many_parts_are_refused_before_they_take_memory(tmp_path, key):
    (tmp_path / "f.toml").write_text(key)
    with pytest.raises(ValueError, match="more than 32 parts"):
        read_toml(tmp_path / "f.toml")


def test_dots_in_text_are_no_keys(tmp_path):
    text = "a." * 100
    (tmp_path / "f.toml").write_text(f'text = "{text}"')
    assert read_toml(tmp_path / "f.toml") == {"text": text}
