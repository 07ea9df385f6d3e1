"""A path that is too long for any file is refused as one that is not there, wherever a user may give one."""

from __future__ import annotations

from pathlib import Path

import pytest

import metabench
from metabench.cli.main import main
from metabench.errors import MissingError
from metabench.utils.paths import is_file, is_folder, is_valid_path, path_exists
from tests.photos import make_folder

LONG = "a" * 300
RUN = ["run", "--algo", "nearest-mean"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ([*RUN, "--dataset", f"folder:{LONG}"], 3),
        ([*RUN, "--data", LONG], 2),
        ([*RUN, "--home", LONG], 3),
        ([*RUN, "--plugin", LONG], 3),
        ([*RUN, "--csv", f"{LONG}.csv"], 2),
        ([*RUN, "--plot", f"{LONG}.svg"], 2),
        (["run", "--algo", "protonet", "--checkpoint", LONG], 3),
        (["run", "--algo", "protonet", "--set", f"backbone.weights={LONG}"], 3),
        (["datasets", "verify", f"folder:{LONG}"], 3),
        (["list", "runs", "--home", LONG], 3),
        (["doctor", "--home", LONG], 3),
        (["export", "--csv", f"{LONG}.csv"], 2),
        (["compare", f"{LONG}.json", f"{LONG}.json"], 2),
        (["new", "algorithm", "some-name", "--dir", LONG], 2),
        (["leaderboard", "build", "--dir", LONG], 2),
        (["predict", "--backbone", "pixels", "--support", LONG, "--query", "x"], 3),
        (["predict", "--backbone", "pixels", "--support", "SUPPORT", "--query", LONG], 3),
        (["predict", "--support", "SUPPORT", "--query", "x", "--checkpoint", LONG], 3),
    ],
    ids=lambda value: " ".join(value).replace(LONG, "LONG") if isinstance(value, list) else None,
)
def test_a_path_that_is_too_long_is_one_line_with_a_remedy(
    line: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "SUPPORT", {"a": 2, "b": 2})
    assert main(line) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "unexpected" not in err and "Errno" not in err


def test_python_says_it_too(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="Give a folder that can be read"):
        metabench.run("nearest-mean", dataset=f"folder:{LONG}", home=str(tmp_path))


def test_what_no_file_can_be_called_is_not_there(tmp_path: Path) -> None:
    for name in (LONG, "a\0b"):
        path = tmp_path / name
        assert not is_valid_path(path)
        assert not (path_exists(path) or is_file(path) or is_folder(path))
    assert is_valid_path(tmp_path / "new") and is_folder(tmp_path)
