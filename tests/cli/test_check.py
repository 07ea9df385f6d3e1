"""``metabench check`` from the outside: exit codes, output, and what bad input says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from metabench.cli.check_printer import CheckPrinter
from metabench.cli.main import main
from metabench.testing.runner import CheckResult

HERE = Path(__file__).parent.parent
RIGHT = str(HERE / "right_plugin.py")
TIES = str(HERE / "wrong_plugins" / "ties_by_index.py")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["protnet"],
            "unknown algorithm or dataset or backbone or protocol 'protnet'; did you mean 'protonet'?",
        ),
        (["protonet", "--kind", "dataset"], "unknown dataset 'protonet'; known: "),
        (["fixed-way", "--kind", "backbone"], "unknown backbone 'fixed-way'"),
        ([], "name what to check, or give a file with --plugin FILE.py, or --all"),
        (["protonet", "--all"], "give names or --all, not both"),
        (["protonet", "--device", "gpu"], "unknown device 'gpu'; use auto, cpu, cuda or cuda:N"),
        (["protonet", "--set", "algo.k=3"], "algorithm 'protonet' has no parameter 'k'"),
        (
            ["protonet", "--set", "k=3"],
            "--set k: write SCOPE.NAME=VALUE with a scope of algo, data, backbone, protocol",
        ),
        (["protonet", "--set", "data.size=3"], "--set has values for a dataset, but none is checked"),
        (["chance", "-k", "shape"], "there is no check 'shape'; did you mean 'shapes'?"),
        (["nothing", "--plugin", TIES], "backbone or protocol 'nothing'; see 'metabench list'"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_loose_files_are_checked_without_names(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """A table for each, and for what failed: what was found, what it means and what to do."""
    checks = ["-k", "shapes", "-k", "query-use", "-k", "fair-ties"]
    assert main(["--plugin", RIGHT, "check", "--plugin", TIES, *checks, "--quiet"]) == 1
    out, err = capsys.readouterr()
    right, ties, failure = out.split("\n\n")
    assert right.splitlines()[0] == "algorithm soft-nearest"
    assert right.splitlines()[-1] == "algorithm soft-nearest: 2 passed, 1 not applicable"
    assert [line.split()[:2] for line in right.splitlines()[2:-1]] == [
        ["shapes", "passed"],
        ["query-use", "skipped"],
        ["fair-ties", "passed"],
    ]
    assert "it is declared inductive" in right
    assert ties.splitlines()[-1] == "algorithm ties-by-index: 1 passed, 1 failed, 1 not applicable"
    text = " ".join(failure.split())
    assert text.startswith("failed: fair-ties of ties-by-index found of two equal classes")
    assert "means Ties go" in text and "to fix Return scores" in text
    assert (err, home.exists()) == ("", False)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-v", "check", "glyphs", "conv4", "-k", "counts", "-k", "features", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "2 passed" in err  # pytest's own words
    rows = json.loads(out)["rows"]
    assert [(row["kind"], row["name"], row["check"], row["status"]) for row in rows] == [
        ("dataset", "glyphs", "counts", "passed"),
        ("backbone", "conv4", "features", "passed"),
    ]
    assert set(rows[0]) == {
        "kind", "name", "check", "status", "promise", "found", "means", "fix", "reason", "seconds",
    }  # fmt: skip


def test_missing_data_is_exit_code_3_but_not_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "omniglot", "-k", "counts", "-k", "spec", "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert "dataset omniglot: 1 passed, 1 missing" in out
    assert err.startswith("error: omniglot: images_background.zip and images_evaluation.zip not found")
    assert main(["check", "--all", "--kind", "dataset", "-k", "counts"]) == 0
    assert "dataset omniglot: 1 missing" in capsys.readouterr().out


def test_pytest_is_needed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metabench.testing.runner.importlib.util.find_spec", lambda name: None)
    assert main(["check", "chance"]) == 3
    assert capsys.readouterr().err == "error: the checks need pytest; pip install pytest\n"


def test_results_come_one_by_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each check as soon as it has run, and at the end those that never came."""

    def run_slowly(targets: object, *, report: Callable[..., None], **options: object) -> list[CheckResult]:
        for done, result in enumerate(results[:3], 1):
            report(result, done, 4)
            shown.append(capsys.readouterr().out)
        return results

    results = [CheckResult("algorithm", *words, "p") for words in (  # type: ignore[arg-type]
        ("chance", "spec", "passed"), ("chance", "shapes", "skipped"), ("protonet", "spec", "passed"),
        ("protonet", "shapes", "not run"),
    )]  # fmt: skip
    shown: list[str] = []
    monkeypatch.setattr("metabench.cli.check.run_checks", run_slowly)
    assert main(["check", "chance", "protonet"]) == 1  # what was not run is no success
    assert [part.splitlines()[-1].split() for part in shown] == [
        ["spec", "passed", "p"], ["shapes", "skipped", "p"], ["spec", "passed", "p"]
    ]  # fmt: skip
    assert "algorithm chance: 1 passed, 1 not applicable\n\nalgorithm protonet\n" in shown[2]
    rest = capsys.readouterr().out
    assert [line.split() for line in rest.splitlines()] == [
        ["shapes", "not", "run", "p"], ["algorithm", "protonet:", "1", "passed,", "1", "not", "run"]
    ]  # fmt: skip


def test_checks_that_fail_for_one_reason_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    broken = [
        CheckResult("algorithm", "x", name, "failed", "p", "no such class", "means", "fix") for name in ("a", "b-c")
    ]
    alone = CheckResult("algorithm", "x", "d", "failed", "p", "wrong", "its meaning", "its remedy")
    CheckPrinter().finish([*broken, alone])
    text = capsys.readouterr().out
    assert text.count("no such class") == 1 and "failed: a, b-c of x" in text
    assert "Fix this first: 2 checks" in text and "means   means" not in text
    assert "means   its meaning" in text and "to fix  its remedy" in text
