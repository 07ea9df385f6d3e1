"""``metabench compare`` on stored runs and on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.records.record import write_record
from metabench.records.store import Store
from tests.record_factory import make_record

A = make_record(tuple(range(40, 75)))
B = make_record(tuple(range(38, 73)), algorithm__name="matching-net")
C = make_record(tuple(72 - i % 7 for i in range(35)), algorithm__name="other", episodes_digest="ef" * 32)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for record in (A, B, C):
        Store(tmp_path).put(record)
    return tmp_path


def test_runs_by_key_and_by_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(home / "elsewhere.json", B)
    assert main(["compare", A.key[:10], str(home / "elsewhere.json"), "--home", str(home), "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["a"], pair["b"], pair["note"]) == (
        "protonet",
        "matching-net",
        "every episode differs by the same amount",
    )
    assert pair["difference"] == pytest.approx(100 * 2 / 75)


def test_the_table_and_its_notes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = [record.short_key for record in (A, B, C)]
    assert main(["compare", *keys, "--home", str(home), "--min-diff", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("omniglot, 5-way 1-shot")
    assert "corrected for 3 comparisons (Holm)" in out
    assert out.count("different episodes, so not paired: Welch's test") == 2
    assert main(["compare", *keys, "--home", str(home), "--markdown"]) == 0
    assert "| A " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "aaaa"], "at least two"),
        (["compare", "aaaa", "bbbb"], "no record 'aaaa'"),
        (["compare", "aaaa", "bbbb", "--json", "--markdown"], "exclude each other"),
        (["compare", "aaaa", "bbbb", "--min-diff", "0"], r"--min-diff must be in (0, 100] points"),
    ],
)
def test_bad_usage_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--home", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_one_pair_is_one_comparison(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", A.key[:12], C.key[:12], "--home", str(home)]) == 0
    assert "corrected for 1 comparison (Holm)" in capsys.readouterr().out
