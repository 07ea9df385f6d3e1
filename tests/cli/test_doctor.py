"""``metabench doctor`` on datasets and extras; the rest of it is in `test_listing`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.main import main
from metabench.data import ClassSplit, split_digest
from metabench.data.availability import DatasetStatus
from metabench.registry.params import Value
from metabench.registry.specs import DatasetSpec
from metabench.utils.home import Home

PLUGIN = """
import numpy as np

from metabench.api import ClassSplit, DatasetSpec, MissingError, SplitSize, hookimpl


@hookimpl
def metabench_datasets():
    return [DatasetSpec(
        name="squares", version=1, target="squares:Squares", summary="s", reference="r", licence="MIT",
        image_shape=(1, 2, 2), sizes={"test": SplitSize(2, 4)}, digests={"test": "DIGEST"}, splits=("test",),
        download=True,
    )]


class Squares:
    def load(self, split, context):
        files = [folder / "squares.bin" for folder in context.sources if (folder / "squares.bin").exists()]
        prepared = context.cache / "test.npy"
        if not prepared.exists():
            if not files:
                raise MissingError("squares: squares.bin not found; ask its authors")
            context.progress("test split", 0, 1)
            prepared.parent.mkdir(parents=True, exist_ok=True)
            np.save(prepared, np.frombuffer(files[0].read_bytes(), np.uint8).reshape(4, 2, 2, 1))
        return ClassSplit(np.load(prepared), np.array([0, 2, 4]), ("a", "b"))
"""
IMAGES = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1)


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run it with the plugin, whose digest is right or wrong, and return the check of its dataset."""
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    right = split_digest(ClassSplit(IMAGES, np.array([0, 2, 4]), ("a", "b")))
    (tmp_path / "data").mkdir()

    def run(*more: str, digest: str = right, code: int = 0) -> dict[str, Any]:
        (tmp_path / "squares.py").write_text(PLUGIN.replace("DIGEST", digest))
        words = ["doctor", "--plugin", str(tmp_path / "squares.py"), "--home", str(tmp_path / "home")]
        assert main([*words, "--data", str(tmp_path / "data"), "--json", *more]) == code
        (check,) = (c for c in json.loads(capsys.readouterr().out) if (c["kind"], c["name"]) == ("dataset", "squares"))
        return check

    return run


def put(tmp_path: Path) -> None:
    (tmp_path / "data" / "squares.bin").write_bytes(IMAGES.tobytes())


def test_what_is_missing_is_told_with_where_it_was_looked_for(doctor: Any, tmp_path: Path) -> None:
    check = doctor()
    assert check["status"] == "missing"
    assert check["detail"].startswith("squares: squares.bin not found; ask its authors (looked in ")
    assert check["facts"]["looked"] == [str(tmp_path / "data"), check["facts"]["folder"]]


def test_nothing_is_decoded_until_it_is_asked_for(doctor: Any, tmp_path: Path) -> None:
    put(tmp_path)
    check = doctor()
    assert (check["status"], check["facts"]["verified"]) == ("not prepared", None)
    assert check["detail"] == "files found; they are decoded at the first use"
    assert not Path(check["facts"]["folder"]).exists()
    check = doctor("--verify")
    assert (check["status"], check["facts"]["verified"]) == ("prepared", True)
    assert check["detail"] == f"prepared in {check['facts']['folder']}, verified"
    assert doctor()["status"] == "prepared"


def test_other_images_are_a_fault_that_verifying_finds(doctor: Any, tmp_path: Path) -> None:
    put(tmp_path)
    assert doctor(digest="ab" * 32)["status"] == "not prepared"
    check = doctor("--verify", digest="ab" * 32, code=1)
    assert (check["status"], check["facts"]["verified"]) == ("broken", False)
    assert "expected abababababab" in check["detail"]


def test_without_a_digest_nothing_is_promised(doctor: Any, tmp_path: Path) -> None:
    put(tmp_path)
    check = doctor("--verify", digest="")
    assert (check["status"], check["facts"]["verified"]) == ("prepared", None)
    assert "no digest to verify it by" in check["detail"]


def test_class_splits_are_counted_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    main(["doctor", "--json", "--home", str(tmp_path)])
    (check,) = (c for c in json.loads(capsys.readouterr().out) if c["name"] == "liu")
    assert (check["kind"], check["status"]) == ("dataset", "downloadable")
    assert check["detail"].startswith("5 folds: Liu/full.jsonl will be downloaded at the first use; --data DIR takes")
    assert check["detail"].count("Liu/full.jsonl") == 1
    assert check["facts"]["folds"] == {str(fold): "downloadable" for fold in range(1, 6)}
    assert check["facts"]["looked"] == [check["facts"]["folder"]]


def test_class_splits_that_differ_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(spec: DatasetSpec, params: Mapping[str, Value], home: Home) -> DatasetStatus:
        return DatasetStatus("prepared") if params.get("fold", 1) == 1 else DatasetStatus("missing", "it is lost")

    monkeypatch.setattr("metabench.cli.doctor.dataset_status", status)
    main(["doctor", "--json", "--home", str(tmp_path)])
    (check,) = (c for c in json.loads(capsys.readouterr().out) if c["name"] == "liu")
    folder = tmp_path / "data" / "liu"
    assert check["status"] == "missing"
    assert check["facts"]["folds"] == {"1": "prepared", **{str(fold): "missing" for fold in range(2, 6)}}
    assert check["detail"].startswith(
        f"1 of 5 folds prepared, 4 of 5 folds missing: fold 1: prepared in {folder}; fold 2: it is lost (looked in "
    )


def test_it_says_the_words_of_the_list_of_datasets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    assert main(["doctor", "--json", "--home", str(tmp_path)]) == 0
    checks = {c["name"]: c["status"] for c in json.loads(capsys.readouterr().out) if c["kind"] == "dataset"}
    assert main(["datasets", "list", "--json", "--home", str(tmp_path)]) == 0
    states = {row["name"]: row["state"].partition(":")[0] for row in json.loads(capsys.readouterr().out)}
    assert checks == states
    assert {"downloadable", "missing", "built in", "yours"} <= set(states.values())


def test_extras_tell_what_installs_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def extras() -> dict[str, tuple[str, str]]:
        main(["doctor", "--json"])
        checks = json.loads(capsys.readouterr().out)
        return {c["name"]: (c["status"], c["detail"]) for c in checks if c["kind"] == "extra"}

    assert extras()["parquet"] == ("ok", "pyarrow")
    monkeypatch.setattr("metabench.cli.doctor._installed", lambda package: False)
    assert extras()["parquet"] == ("missing", "needs pyarrow; pip install 'metabench[parquet]'")


def test_a_broken_suite_is_a_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("x = 1\n")
    (tmp_path / "suiting.py").write_text(
        "from pathlib import Path\n\nfrom metabench.api import hookimpl\n\n\n@hookimpl\n"
        'def metabench_suites():\n    return [Path(__file__).parent / "bad.toml"]\n'
    )
    assert main(["doctor", "--plugin", str(tmp_path / "suiting.py"), "--home", str(tmp_path / "home")]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("suite "))
    assert "unknown key 'x'" in line
