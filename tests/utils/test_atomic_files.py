"""Files that are replaced whole."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from metabench.utils.atomic_files import replacing, write_atomic


def test_a_write_that_stops_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """A real short write: the process may not make files above one page."""
    path = tmp_path / "text"
    write_atomic(path, "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError) as caught:
            write_atomic(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert [p.name for p in tmp_path.iterdir()] == ["text"]
    assert path.read_text() == "before"


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as temporary:
        temporary.write_bytes(b"first")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_bytes(b"second")
        raise KeyboardInterrupt
    assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == [("file", b"first")]


@pytest.mark.parametrize("durable", [True, False])
def test_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    done: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, r=real: (done.append(n), r(*args)))
    with replacing(tmp_path / "file", durable) as temporary:
        temporary.touch()
    assert done == ["fsync", "replace"][not durable :]


@pytest.mark.parametrize("keep", [True, False])
def test_a_draft_with_a_name_is_written_over_and_kept_only_where_asked(tmp_path: Path, keep: bool) -> None:
    path, draft = tmp_path / "file", tmp_path / "draft"
    draft.write_bytes(b"left by a killed process")
    with pytest.raises(KeyboardInterrupt), replacing(path, draft=draft, keep=keep) as temporary:
        assert temporary == draft
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"half"] * keep
    with replacing(path, draft=draft, keep=keep):
        draft.write_bytes(b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"whole")]
