from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.planning.folder_labels import folder_labels
from metabench.registry.resolved import ResolvedPlugin
from metabench_datasets.folder import SPEC
from tests.photos import make_folder


def names(*paths: str) -> list[str]:
    return folder_labels([ResolvedPlugin(SPEC, {"path": path}) for path in paths])


def test_the_end_that_differs() -> None:
    assert names("/x/a/test", "/x/b/test", "/x/c/photos") == ["folder:a/test", "folder:b/test", "folder:photos"]
    assert names("/x/a/test", "/x/a/test/") == ["folder:test"] * 2, "the same folder"
    assert names("/a/x/test", "/b/x/test", "/test") == ["folder:a/x/test", "folder:b/x/test", "folder:/test"]


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two folders of one name, as datasets."""
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for first, place in enumerate("ab"):
        make_folder(tmp_path / place / "test", {"x": 3, "y": 3}, first)
    return ["folder:a/test", "folder:b/test"]


def test_tables_tell_folders_of_one_name_apart(two: list[str], tmp_path: Path, capsys) -> None:
    words = ["run", "--algo", "nearest-mean", "--ways", "2", "--episodes", "20", "--set", "data.size=12"]
    words += ["--dataset", ",".join(two)]
    assert main([*words, "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert all(name in dry for name in two)
    assert main(words) == 0
    said = capsys.readouterr()
    labels = re.findall(r"folder:test [0-9a-f]{8}", said.out)
    assert len(set(labels)) == 2
    for label, place in zip(labels, "ab", strict=True):
        assert f"{label}: {tmp_path / place / 'test'}" in said.err
    assert main(["list", "runs"]) == 0
    listed = capsys.readouterr().out
    assert all(label in listed for label in labels)
    assert main(["list", "runs", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert {record["inputs"]["dataset"]["name"] for record in records} == {"folder:test"}, "nothing of where it is"
    assert main(["run", *words[1:-1], two[0]]) == 0
    assert not re.search(r"folder:test [0-9a-f]{8}", capsys.readouterr().out), "one alone needs nothing more"


def test_verify_tells_folders_of_one_name_apart(two: list[str], capsys) -> None:
    assert main(["datasets", "verify", *two]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == two


@pytest.mark.parametrize("path", ["./a", "../photos", "/data/photos", "~/photos", ".", "a", "a/test"])
@pytest.mark.parametrize("command", [["run", "--algo", "nearest-mean", "--dataset"], ["datasets", "verify"]])
def test_a_path_alone_is_no_dataset(two: list[str], capsys, path: str, command: list[str]) -> None:
    assert main([*command, path]) == 2
    assert f"unknown dataset '{path}'. If it is a folder of your own, write folder:{path}" in capsys.readouterr().err
