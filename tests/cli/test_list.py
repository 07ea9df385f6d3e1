from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.cli.rendering import cell, columns
from metabench.records.record import build_record
from metabench.records.store import Store
from metabench.registry.registry import clear_registry
from tests.conftest import Command
from tests.record_factory import changed, make_inputs, make_record, plain_of

KINDS = ("algorithms", "datasets", "backbones", "protocols")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    return tmp_path / "home"


def answer(capsys, *words: str):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_shows_every_kind(toys, capsys) -> None:
    assert main(["list"]) == 0
    captured = capsys.readouterr()
    for name in ("toy-median", "toy-dots", "toy-bone", "toy-way"):
        assert any(line.startswith(f"{name} ") for line in captured.out.splitlines())
    assert "\x1b" not in captured.out
    blocks = captured.out.split("\n\n")
    assert [block.split()[0] for block in blocks] == ["algorithm", "dataset", "backbone", "protocol"]


@pytest.mark.parametrize("width", [100, 120, 0])
def test_tables_fit_the_terminal_and_lose_no_word(capsys, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    if width:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= (width or 120)
    listed = answer(capsys, "list")
    printed = Counter(out.split())
    for kind in KINDS:
        for spec in listed[kind]:
            assert not Counter([spec["name"], *spec["summary"].split()]) - printed
    for spec in listed["protocols"]:
        for param in spec["params"]:
            assert f"{param['name']}={cell(param['default'])}" in printed


def test_list_one_kind(toys, capsys) -> None:
    assert main(["list", "datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (dots,) = [line for line in lines if line.startswith("toy-dots ")]
    assert dots.split() == ["toy-dots", "images", "1x4x4", "3/1/2", "60", "download", "dots"]
    assert not any("toy-median" in line for line in lines)


def test_list_tells_what_is_left_out(toys, capsys) -> None:
    assert main(["list", "algorithms"]) == 0
    captured = capsys.readouterr()
    warnings = captured.err.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert (
        "warning: algorithm 'toy-mean' is provided by toy-clashing:clashing and toy-good:good; neither is used"
        in warnings
    )
    assert any("toy-misspelt:misspelt is broken: unknown hook 'metabench_algoritms'" in line for line in warnings)
    assert "toy-mean" not in captured.out
    heavy = " ".join(captured.out[captured.out.index("toy-heavy ") :].split())
    assert "[unavailable: needs toy_no_such_module; pip install 'metabench[toys]']" in heavy


def test_list_json(toys, capsys) -> None:
    found = answer(capsys, "list")
    assert tuple(found) == KINDS
    (heavy,) = [spec for spec in found["algorithms"] if spec["name"] == "toy-heavy"]
    assert (heavy["kind"], heavy["version"], heavy["requires"]) == ("algorithm", 3, ["toy_no_such_module"])
    assert heavy["unavailable"].startswith("needs toy_no_such_module")
    assert list(answer(capsys, "list", "backbones")) == ["backbones"]


def test_list_rejects_an_unknown_kind(capsys) -> None:
    assert main(["list", "algoritms"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_show_algorithm(toys, capsys) -> None:
    assert main(["show", "toy-median"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("algorithm toy-median: the toy toy-median version 3 reference none licence MIT")
    assert "steps 5 how often" in text
    assert "metric cosine similarity (one of cosine, euclidean)" in text
    assert "recipe for any other dataset train way 7" in text


def test_show_dataset(toys, capsys) -> None:
    assert main(["show", "toy-dots"]) == 0
    assert "train 3 30 0000" in " ".join(capsys.readouterr().out.split())
    (spec,) = answer(capsys, "show", "toy-dots")
    assert spec["sizes"]["train"] == {"classes": 3, "images": 30}


def test_show_clash_and_unknown_name(toys, capsys) -> None:
    assert main(["show", "toy-mean"]) == 2
    assert "toy-clashing:clashing and toy-good:good" in capsys.readouterr().err
    assert main(["show", "toy-medain"]) == 2
    hint = "; did you mean 'toy-median'? (12 plugins are broken: see 'metabench plugins')"
    assert capsys.readouterr().err == f"error: no plugin is called 'toy-medain'{hint}\n"


def test_plugins_json(toys, capsys) -> None:
    found = {info["entry"]: info for info in answer(capsys, "plugins")}
    assert found["good"]["status"] == "ok"
    assert found["good"]["unavailable"] == {"toy-heavy": "needs toy_no_such_module; pip install 'metabench[toys]'"}
    assert found["misspelt"]["status"] == "broken"


def test_list_runs_tells_trainings_apart(home: Path, capsys) -> None:
    for episodes in (100, 50):
        Store(home).put(make_record(training__episodes=episodes))
    Store(home).put(make_record(algorithm__name="chance", training=None))
    assert main(["list", "runs"]) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header[-3:] == ["training", "score", "finished"]
    assert {word for row in rows for word in row if "=" in word and "episodes" in word} == {
        "episodes=100", "episodes=50"}  # fmt: skip


def test_list_runs(home: Path, capsys) -> None:
    first, second = make_record(), make_record(algorithm__name="chance", training=None)
    failed = build_record(make_inputs(dataset__name="zoo"), "failed", error={"type": "ValueError", "message": "no"})
    for record in (first, second, failed):
        Store(home).put(record)
    assert main(["list", "runs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:5] for row in rows[1:]] == [
        [second.short_key, "ok", "chance", "conv4", "omniglot"],
        [first.short_key, "ok", "protonet", "conv4", "omniglot"],
        [failed.short_key, "failed", "protonet", "conv4", "zoo"],
    ]
    assert rows[2][5:] == ["fixed-way", "way=5", "shot=1", "query=15", "7", "4", "98.67", "±", "3.00", "%", "-"]
    assert rows[1][9] == "-"  # nothing was trained, so there is no training seed
    assert rows[3][-2:] == ["-", "-"]
    listed = answer(capsys, "list", "runs")
    assert {item["key"] for item in listed} == {record.key for record in (first, second, failed)}
    assert set(listed[0]) == {"key", "status", "inputs", "summary", "finished", "copies"}


def test_list_runs_says_when(home: Path, capsys) -> None:
    record = changed(make_record(), provenance={"finished": "2026-03-04T05:06:07+00:00"})
    Store(home).put(record)
    assert main(["list", "runs"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("%  2026-03-04 05:06")
    assert answer(capsys, "list", "runs")[0]["finished"] == "2026-03-04T05:06:07+00:00"


def test_list_runs_of_another_home(home: Path, tmp_path: Path, capsys) -> None:
    Store(tmp_path / "other").put(make_record())
    assert answer(capsys, "list", "runs") == []
    assert len(answer(capsys, "list", "runs", "--home", str(tmp_path / "other"))) == 1
    assert main(["list", "runs"]) == 0
    assert capsys.readouterr() == ("", f"no runs in {home}\n")


def test_show_run_by_prefix(home: Path, capsys) -> None:
    record = make_record()
    Store(home).put(record)
    assert answer(capsys, "show", record.key[:6]) == plain_of(record)
    assert main(["show", record.key[:6]]) == 0
    headline, rest = capsys.readouterr().out.split("\n", 1)
    assert headline == f"run {record.key}  ok  accuracy 98.67 ± 3.00 %"
    assert json.loads(rest) == {
        name: value for name, value in plain_of(record).items() if name not in ("scores", "key", "status")
    }
    assert main(["show", "0" * 8]) == 2


def test_doctor_reports_what_is_broken(command: Command) -> None:
    done = command("doctor", "--json")
    assert done.returncode == 1
    listed = json.loads(done.stdout)
    assert {tuple(check) for check in listed} == {("kind", "name", "status", "detail", "facts")}
    checks = {(check["kind"], check["name"]): check for check in listed}
    assert len(checks) == len(listed)
    assert checks["folder", "home"]["status"] == "ok"
    assert "GB free" in checks["folder", "home"]["detail"]
    assert {checks["software", name]["status"] for name in ("python", "metabench", "torch", "numpy")} == {"ok"}
    assert checks["device", "auto"]["status"] == "ok"
    assert checks["plugin", "toy-misspelt:misspelt"]["status"] == "broken"
    assert checks["plugin", "toy-good:good"]["status"] == "ok"
    assert checks["algorithm", "toy-mean"]["status"] == "broken"
    assert checks["algorithm", "toy-heavy"]["status"] == "unavailable"
    assert checks["dataset", "toy-dots"]["status"] == "not prepared"
    assert checks["dataset", "toy-lost"]["status"] == "missing"
    assert "looked in" in checks["dataset", "toy-lost"]["detail"]
    assert checks["dataset", "toy-rotten"]["detail"] == "ZeroDivisionError: rotten"


def test_doctor_is_content_without_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    clear_registry()
    try:
        assert main(["doctor"]) == 0
        assert capsys.readouterr().out.startswith("kind ")
        (tmp_path / "file").touch()
        assert main(["doctor", "--home", str(tmp_path / "file" / "home")]) == 1
        assert ": Not a directory. Choose another with --home" in capsys.readouterr().out
    finally:
        clear_registry()


def test_columns_line_up_and_defuse_escape_codes() -> None:
    assert columns(("a", "bb"), [("ccc", 1), ("d", True)]) == "a    bb\nccc  1\nd    yes"
    assert columns(("a", "bb"), []) == "a  bb"
    assert cell("\x1b[31mred\nnext") == "?[31mred?next"
