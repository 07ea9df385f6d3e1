from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.records.record import build_record, write_record
from tests.record_factory import make_inputs, make_record


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "one.json", make_record((75, 70, 66, 71) * 20))
    return tmp_path / "one.json"


def test_a_record_file_is_shown(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(record), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(record.read_text())
    assert main(["show", "one.json"]) == 0
    assert capsys.readouterr().out.startswith("run ")


def test_the_distribution_of_a_run_is_drawn(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "one.json", "--plot", "spread.svg"]) == 0
    assert capsys.readouterr().out == "wrote spread.svg\n"
    first = Path("spread.svg").read_bytes()
    root = ET.fromstring(first)
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("}text")]
    assert "protonet on omniglot, 5-way 1-shot" in texts
    assert "mean 94.00" in texts
    assert main(["show", "one.json", "--plot", "spread.svg"]) == 0
    assert Path("spread.svg").read_bytes() == first


def test_the_picture_has_a_name_of_its_own(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "one.json", "--plot"]) == 0
    key = json.loads(record.read_text())["key"]
    assert capsys.readouterr().out == f"wrote protonet-{key[:12]}.svg\n"
    assert Path(f"protonet-{key[:12]}.svg").is_file()


def test_a_stranger_chooses_no_path(record: Path, tmp_path: Path) -> None:
    write_record(tmp_path / "evil.json", make_record((70, 71), algorithm__name="../../evil <b>"))
    assert main(["show", "evil.json", "--plot"]) == 0
    (drawn,) = tmp_path.glob("*evil*.svg")
    assert "<b>" not in drawn.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["failed.json", "--plot", "a.svg"], "it is failed and has no scores"),
        (["one.json", "--plot", "no/a.svg"], "not found"),
        (["absent.json", "--plot", "a.svg"], "cannot read the record absent.json"),
        (["absent.json"], "cannot read the record absent.json: No such file or directory. Pass the path of a record"),
    ],
)
def test_mistakes_are_one_line(
    record: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write_record(Path("failed.json"), build_record(make_inputs(), "failed", error={"type": "X", "message": "y"}))
    assert main(["show", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
