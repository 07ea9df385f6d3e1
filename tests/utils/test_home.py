from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from metabench.errors import MetabenchError, UsageError
from metabench.utils.home import Home


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METABENCH_HOME", raising=False)
    monkeypatch.delenv("METABENCH_DATA", raising=False)


def test_argument_beats_environment_beats_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Home.resolve().root == platformdirs.user_data_path("metabench")
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "variable"))
    assert Home.resolve().root == tmp_path / "variable"
    assert Home.resolve(str(tmp_path / "argument")).root == tmp_path / "argument"
    assert list(tmp_path.iterdir()) == []  # naming a home does not make it


def test_root_is_absolute_and_tilde_is_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.resolve("here").root == tmp_path / "here"
    assert Home.resolve("~/there").root == tmp_path / "there"


def test_rooms(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.dataset_cache("omniglot") == tmp_path / "data" / "omniglot"
    rooms = [home.records, home.models, home.features, home.partial]
    assert [room.name for room in rooms] == ["records", "models", "features", "partial"]
    assert {room.parent for room in rooms} == {tmp_path}


def test_sources_in_order_without_repetition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    for folder in (first, second, third):
        folder.mkdir()
    assert Home.resolve().sources == ()
    monkeypatch.setenv("METABENCH_DATA", os.pathsep.join([str(second), "", str(third), str(first)]))
    assert Home.resolve().sources == (second, third, first)
    assert Home.resolve(data=str(first)).sources == (first, second, third)


@pytest.mark.parametrize("by_argument", [True, False])
def test_source_must_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_argument: bool) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, problem in ((file, "is not a folder"), (tmp_path / "absent", "does not exist")):
        if not by_argument:
            monkeypatch.setenv("METABENCH_DATA", str(path))
        where = "--data" if by_argument else "METABENCH_DATA"
        with pytest.raises(UsageError, match=f"^{where} {path} {problem}; "):
            Home.resolve(data=str(path) if by_argument else None)


def test_ensure_creates_and_leaves_no_trace(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.ensure()
    home.ensure()
    assert list(home.root.iterdir()) == []


def test_unwritable_because_the_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "home"
    with pytest.raises(MetabenchError) as caught:
        Home(root).ensure()
    assert str(caught.value) == (
        f"cannot write to home {root}: Not a directory. Choose another with --home or METABENCH_HOME."
    )
    assert caught.value.exit_code == 1


def test_unwritable_because_it_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MetabenchError, match="cannot write to home"):
        Home(tmp_path / "file").ensure()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_because_of_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MetabenchError, match=r"cannot write to home .*: Permission denied"):
            Home(tmp_path).ensure()
    finally:
        tmp_path.chmod(0o700)


def test_full_disk_shows_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metabench.utils.home.tempfile.TemporaryFile", full)
    with pytest.raises(MetabenchError, match=r"cannot write to home .*: No space left on device"):
        Home(tmp_path).ensure()
