from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.records.record import build_record, write_record
from metabench.records.store import Store
from tests.record_factory import make_inputs, make_record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory whose leaderboard is the default one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    return tmp_path / "leaderboards"


def test_from_a_stored_run_to_a_checked_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = make_record()
    Store(folder.parent / "home").put(record)
    name = f"protonet-omniglot-5w1s-{record.short_key}.json"
    assert main(["leaderboard", "add", record.key[:10]]) == 0
    assert capsys.readouterr().out == f"added leaderboards/records/{name}\n"
    assert main(["leaderboard", "build", "--check"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(
        "error: stale: leaderboards/README.md, leaderboards/index.html, leaderboards/omniglot.csv"
    )
    assert "run 'metabench leaderboard build'" in output.err
    assert not (folder / "README.md").exists()
    assert main(["leaderboard", "build"]) == 0
    assert "changed leaderboards/omniglot.md\n" in capsys.readouterr().out
    assert main(["leaderboard", "build", "--check"]) == 0
    assert capsys.readouterr() == ("", "")


def test_json_output(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_record(tmp_path / "one.json", make_record())
    assert main(["leaderboard", "add", str(tmp_path / "one.json"), "--dir", "board", "--json"]) == 0
    (added,) = json.loads(capsys.readouterr().out)["added"]
    assert Path(added).is_file()
    assert main(["leaderboard", "build", "--dir", "board", "--check", "--json"]) == 1
    pages = [f"board/{name}" for name in ("README.md", "index.html", "omniglot.csv", "omniglot.md")]
    assert json.loads(capsys.readouterr().out) == {"stale": pages}
    assert main(["leaderboard", "build", "--dir", "board", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"changed": pages}
    assert main(["leaderboard", "build", "--dir", "board", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stale": []}


def test_another_home(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = make_record()
    Store(tmp_path / "elsewhere").put(record)
    assert main(["leaderboard", "add", record.key[:10]]) == 2
    assert "no record" in capsys.readouterr().err
    assert main(["leaderboard", "add", record.key[:10], "--home", str(tmp_path / "elsewhere")]) == 0


def test_a_failed_run_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = build_record(make_inputs(), "failed", error={"type": "X", "message": "y"})
    Store(folder.parent / "home").put(failed)
    assert main(["leaderboard", "add", failed.key]) == 1
    assert "Only a run that succeeded" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add"], 2, "RECORD"),
        (["add", "missing.json"], 2, "cannot read the record missing.json"),
        (["add", "xyz"], 2, "not a record key"),
        (["add", "abcd1234"], 2, "no record 'abcd1234'"),
        (["add", "bad.json"], 1, "bad.json: $: object missing required field `schema`"),
        (["build"], 2, "folder leaderboards not found"),
        (["html"], 2, "folder leaderboards not found"),
        (["html", "--dir", ".", "--out", "no/such/page.html"], 2, "not found. Create it first"),
        (["check", "--against", "HEAD"], 2, "folder leaderboards not found"),
        (["check"], 2, "--against"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    Path("bad.json").write_text("{}")
    assert main(["leaderboard", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_page_can_be_written_elsewhere(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(folder.parent / "home").put(make_record())
    assert main(["leaderboard", "add", make_record().key]) == 0
    assert main(["leaderboard", "html"]) == 0
    (tmp_path / "public").mkdir()
    capsys.readouterr()
    assert main(["leaderboard", "html", "--out", "public/page.html"]) == 0
    assert capsys.readouterr().out == "wrote public/page.html\n"
    here, there = (Path(name).read_text(encoding="utf-8") for name in ("leaderboards/index.html", "public/page.html"))
    (link,) = re.findall(r'href="([^"#]+)"', there)
    assert (tmp_path / "public" / link).is_file()
    assert there.replace("../leaderboards/records", "records") == here
    assert main(["leaderboard", "build"]) == 0
    assert "index.html" not in capsys.readouterr().out, "build writes the same page"
