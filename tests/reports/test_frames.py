from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import metabench
from metabench.cli.main import main
from metabench.errors import MissingError, NothingMeasured, UsageError
from metabench.leaderboard import Leaderboard
from metabench.records.record import RecordError, build_record, write_record
from metabench.records.store import Store
from metabench.reports.frames import load_results, write_frame
from tests.record_factory import make_inputs, make_record

FORMULA = "=HYPERLINK(1)"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with two runs that succeeded and one that did not."""
    store = Store(tmp_path / "home")
    store.put(make_record())
    store.put(make_record((15, 16), algorithm__name="chance", training=None, algorithm__params={"p": FORMULA}))
    store.put(build_record(make_inputs(precision="bfloat16"), "failed", error={"type": "X", "message": "y"}))
    return tmp_path / "home"


def test_one_row_per_run(home: Path) -> None:
    frame = metabench.load_results(home=str(home)).set_index("algorithm")
    assert sorted(frame.index) == ["chance", "protonet"]
    row = frame.loc["protonet"]
    assert row["accuracy"] == pytest.approx(98.666667)
    assert (row["episodes"], row["n_query"], row["seed"]) == (4, 75, 7)
    assert row["seconds"] == 1.5
    assert frame.loc["chance", "seed"] is pd.NA
    assert frame["accuracy"].dtype == "float64"
    assert frame["episodes"].dtype == "Int64"
    assert "status" not in frame.columns


def test_one_row_per_episode(home: Path) -> None:
    frame = load_results(home=str(home), per="episode")
    assert len(frame) == 6
    mine = frame[frame["algorithm"] == "protonet"]
    assert mine["correct"].tolist() == [75, 74, 75, 72]
    assert mine["episode"].tolist() == [0, 1, 2, 3]
    assert mine["accuracy"].mean() == pytest.approx(98.666667)
    assert mine["key"].nunique() == 1


def test_files_folders_and_keys(home: Path, tmp_path: Path) -> None:
    board = Leaderboard(tmp_path / "board")
    (path,) = board.add([make_record(algorithm__name="third")])
    names = lambda *sources: load_results(*sources, home=str(home))["algorithm"].tolist()  # noqa: E731
    assert names(board.folder) == names(board.folder / "records") == names(path) == names(str(path)) == ["third"]
    assert names(make_record().key[:8], path) == ["protonet", "third"]


def test_what_cannot_be_loaded(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingMeasured, match="there is no finished run here"):
        load_results(home=str(tmp_path / "empty"))
    with pytest.raises(
        UsageError, match=r"cannot read the record .*absent.json: .*\. Pass the path of a record, or a key"
    ):
        load_results(tmp_path / "absent.json")
    with pytest.raises(UsageError, match="not a record key"):
        load_results("nonsense", home=str(home))
    with pytest.raises(UsageError, match="per must be 'run' or 'episode'"):
        load_results(home=str(home), per="image")  # type: ignore[arg-type]
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(RecordError, match=r"bad\.json"):
        load_results(tmp_path / "bad.json")


def test_csv_and_json_lines_hold_the_same(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, jsonl = tmp_path / "a.csv", tmp_path / "a.jsonl"
    assert main(["export", "--home", str(home), "--csv", str(csv), "--jsonl", str(jsonl)]) == 0
    assert capsys.readouterr().out == f"wrote 2 rows to {csv}\nwrote 2 rows to {jsonl}\n"
    rows = [json.loads(line) for line in jsonl.read_text(encoding="utf-8").splitlines()]
    frame = pd.read_csv(csv)
    assert frame["accuracy"].tolist() == [row["accuracy"] for row in rows]
    assert {row["algorithm"] for row in rows} == {"protonet", "chance"}
    assert "\r" not in csv.read_text(encoding="utf-8")


def test_a_formula_is_no_formula_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_record(path, make_record(backbone__name="=1+1"))
    for per in ("run", "episode"):
        write_frame(load_results(path, per=per), tmp_path / "a.csv", "csv")  # type: ignore[arg-type]
        text = (tmp_path / "a.csv").read_text(encoding="utf-8")
        assert "'=1+1" in text
        assert ",=1+1" not in text


def test_parquet_keeps_types(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is an extra: pip install 'metabench[parquet]'")
    target = tmp_path / "a.parquet"
    assert main(["export", "--home", str(home), "--parquet", str(target), "--per-episode"]) == 0
    frame = pd.read_parquet(target)
    pd.testing.assert_frame_equal(frame, load_results(home=str(home), per="episode"))


def test_parquet_without_pyarrow_says_what_to_install(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.reports.frames.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'metabench\[parquet\]'"):
        write_frame(load_results(home=str(home)), tmp_path / "a.parquet", "parquet")
    assert main(["export", "--home", str(home), "--parquet", str(tmp_path / "a.parquet")]) == 3


def test_a_failed_write_leaves_what_was_there(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.csv"
    target.write_text("before")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    assert main(["export", "--home", str(home), "--csv", str(target)]) == 1
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "cannot export: no output file given"),
        (["--csv", "no/such/folder/a.csv"], 2, "not found"),
        (["--csv", "a.csv", "abcd1234"], 2, "no record 'abcd1234'"),
    ],
)
def test_mistakes_are_one_line(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--home", str(home), *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_json_says_what_was_written(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.csv"
    assert main(["export", "--home", str(home), "--csv", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 2, "written": {"csv": target.as_posix()}}
