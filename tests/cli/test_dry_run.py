"""``metabench run --dry-run`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.records.partial_scores import PartialScores
from tests.cli.suite_runs import answer, suite_arguments
from tests.conftest import Command
from tests.tiny import arguments


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METABENCH_DATA", raising=False)


def test_a_dry_run_tells_how_every_run_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, with_absent: Path
) -> None:
    def states(code: int = 3) -> list[tuple[str, str]]:
        found = answer(capsys, suite_arguments(tmp_path, with_absent, "--dry-run", algo="chance"), code)
        return [(row["dataset"], row["state"]) for row in found["runs"]]

    assert states() == [("glyphs", "to do"), ("glyphs", "to do"), ("omniglot", "missing")]
    assert not (tmp_path / "home" / "records").exists()
    main(suite_arguments(tmp_path, with_absent, algo="chance"))
    assert states() == [("glyphs", "cached"), ("glyphs", "cached"), ("omniglot", "missing")]
    assert main(suite_arguments(tmp_path, with_absent, "--dry-run", algo="chance")) == 3
    out = capsys.readouterr().out
    assert "3 runs: 2 cached, 1 missing" in out
    assert "missing for 1 run: omniglot: images_background.zip and images_evaluation.zip not found; put" in out
    assert "metabench datasets download omniglot --from DIR" in out


def test_a_dry_run_tells_what_will_be_downloaded_from_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "both.toml"
    path.write_text(
        'name = "both"\nversion = 1\nsummary = "s"\n[[runs]]\ndatasets = ["omniglot", "mini-imagenet"]\n'
        '[[runs]]\ndatasets = ["clinc150"]\nquery = 5\nsettings.data.fold = 3\n'
    )
    args = [word for word in suite_arguments(tmp_path, path, "--dry-run", algo="chance") if word != "--no-download"]
    found = {row["dataset"]: row for row in answer(capsys, args, code=3)["runs"]}
    assert {name: row["state"] for name, row in found.items()} == {
        "omniglot": "to do", "mini-imagenet": "missing", "clinc150": "to do"
    }  # fmt: skip
    assert found["omniglot"]["downloads"] == [
        "omniglot: images_background.zip and images_evaluation.zip will be downloaded"
    ]
    assert main(args) == 3
    out = capsys.readouterr().out
    assert "before 1 run: clinc150: OOS/full.jsonl will be downloaded" in out
    assert "missing for 1 run: mini-imagenet: no copy found" in out
    assert not list((tmp_path / "home").rglob("downloads"))
    offline = answer(capsys, [*args, "--no-download"], code=3)["runs"]
    assert [(row["state"], row["downloads"]) for row in offline] == [("missing", [])] * 3


def test_a_dry_run_estimates_by_what_was_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    home = tmp_path / "home"
    wide = ("--set", "backbone.channels=4")
    before = answer(capsys, suite_arguments(tmp_path, suite, "--dry-run", *wide, algo="protonet"))
    assert ({row["seconds"] for row in before["runs"]}, before["unknown"]) == ({None}, 2)
    assert main(arguments(home, "--ways", "3", "--episodes", "60")) == 0  # 8 training episodes, 60 measured
    for file in (home / "records").glob("*.json"):
        record = json.loads(file.read_text())
        record["training"]["seconds"] = 80.0
        record["cost"] |= {"scoring_seconds": 30.0, "embedding_seconds": 2.0}
        file.write_text(json.dumps(record))
    after = answer(capsys, suite_arguments(tmp_path, suite, "--dry-run", *wide, algo="protonet"))
    first, second = after["runs"]
    # 1-shot: 4 of 8 episodes and 40 of 60, each with the same images; 2-shot: an image more of each class.
    assert first["seconds"] == pytest.approx(80 * 4 / 8 + 30 * 40 / 60 + 2, abs=0.1)
    assert second["seconds"] == pytest.approx(80 * 4 / 8 * 5 / 4 + 30 * 40 / 60 * 17 / 16 + 2, abs=0.1)
    assert after["seconds"] == pytest.approx(first["seconds"] + second["seconds"], abs=0.2)
    assert after["unknown"] == 0


def test_a_dry_run_sees_what_was_begun(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    (first, _) = answer(capsys, suite_arguments(tmp_path, suite, algo="chance"))["rows"]
    home = tmp_path / "home"
    (home / "records" / f"{first['key']}.json").unlink()
    PartialScores(home, first["key"]).append([3] * 10)
    found = answer(capsys, suite_arguments(tmp_path, suite, "--dry-run", algo="chance"))["runs"]
    assert [(row["state"], row["detail"]) for row in found] == [("partial", "scored 10 episodes"), ("cached", "")]
    assert found[0]["key"] == first["key"]


def test_a_dry_run_loads_no_torch(command: Command, tmp_path: Path, suite: Path) -> None:
    code = (
        "import sys\nfrom metabench.cli.main import main\ncode = main(sys.argv[1:])\n"
        "sys.exit(code or 10 * ('torch' in sys.modules))"
    )
    done = command("run", "--algo", "protonet,maml", "--suite", "quick", "--dry-run", code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 runs: 6 to do" in done.stdout


def test_a_dry_run_without_a_suite(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = ["run", "--algo", "chance", "--shots", "1,5", "--home", str(tmp_path), "--dry-run"]
    assert main(args) == 0
    assert "2 runs: 2 to do" in capsys.readouterr().out
    assert main([*args, "--markdown"]) == 0
    assert "| chance | glyphs | 5 | 1 | to do |" in " ".join(capsys.readouterr().out.split())


def test_a_package_that_is_missing_is_told_with_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plugin = tmp_path / "needy.py"
    plugin.write_text(
        "from metabench.api import AlgorithmSpec, hookimpl\n\n\n"
        "@hookimpl\ndef metabench_algorithms():\n"
        "    common = dict(version=1, summary='s', reference='r', licence='MIT', trains=False, backbone='pixels')\n"
        "    lacking = dict(requires=('no_such_module',), extra='more')\n"
        "    return [AlgorithmSpec(name='needy', target='needy:X', **lacking, **common)]\n"
    )
    args = ["run", "--algo", "needy", "--home", str(tmp_path / "home"), "--plugin", str(plugin)]
    assert main([*args, "--dry-run"]) == 3
    out = capsys.readouterr().out
    assert "missing for 1 run: algorithm needy needs no_such_module; pip install 'metabench[more]'" in out
