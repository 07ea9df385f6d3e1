"""What ``metabench new`` writes is installed, checked, tested and measured, as its author would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.registry.specs import PLUGIN_KINDS
from tests.sandbox import Sandbox
from tests.tiny import SETTINGS

GLYPHS = " ".join(f"--set {name}={value}" for name, value in SETTINGS.items() if name != "backbone.channels")
DATA = " ".join(f"--set {name}={value}" for name, value in SETTINGS.items() if name.startswith("data."))
ROOT = Path(__file__).parent.parent.parent
WRITTEN = {**{kind: f"{kind} {{}}" for kind in PLUGIN_KINDS}, "staged": "algorithm {} --staged"}
"""What plugins are called here, and the words after ``metabench new`` that write them."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox with a loose file and a package of each of `WRITTEN`, as written; the packages are installed."""
    folder = tmp_path_factory.mktemp("workshop")
    sandbox = Sandbox(folder, folder / "home")
    for name, words in WRITTEN.items():
        for command in (words.format(f"loose-{name}"), f"{words.format(f'my-{name}')} --package"):
            done = sandbox.run(f"metabench new {command}")
            assert (done.returncode, done.stderr) == (0, "")
    done = sandbox.run("pip install " + " ".join(f"./my-{name}" for name in WRITTEN))
    assert done.returncode == 0, done.stderr
    return sandbox


@pytest.mark.parametrize("name", WRITTEN)
def test_a_loose_file_passes_the_checks_as_written(workshop: Sandbox, name: str) -> None:
    done = workshop.run(f"metabench check loose-{name} --plugin loose_{name}.py --quiet --json")
    assert done.returncode == 0, done.stdout
    rows = json.loads(done.stdout)["rows"]
    assert {row["status"] for row in rows} == {"passed", "skipped"}
    assert sum(row["status"] == "passed" for row in rows) > len(rows) / 2


def test_its_test_runs_the_same_checks(workshop: Sandbox) -> None:
    done = workshop.run("pytest -q -p no:cacheprovider test_loose_dataset.py")
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_a_package_passes_its_own_tests(workshop: Sandbox, kind: str) -> None:
    done = workshop.run(f"pytest -q -rs -p no:cacheprovider my-{kind}")
    assert done.returncode == 0, done.stdout
    assert "lazy_import" not in done.stdout  # checked where there is an installed module


def test_a_staged_package_lists_without_torch(workshop: Sandbox) -> None:
    """The other checks are of its class, which is that of the loose file."""
    done = workshop.run("metabench check my-staged --only lazy-import --quiet")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_staged_algorithm_shares_the_pre_training_of_others(workshop: Sandbox) -> None:
    done = workshop.run(f"metabench run --algo my-staged,simpleshot --dry-run --json {DATA}")
    assert done.returncode == 0, done.stderr
    mine, simpleshot = ([(stage["name"], stage["state"]) for stage in run["stages"]]
                        for run in json.loads(done.stdout)["runs"])  # fmt: skip
    assert mine == [("pretrain", "to do"), ("episodes", "to do")]
    assert simpleshot == [("pretrain", "shared")]


def test_packages_are_measured_together(workshop: Sandbox) -> None:
    done = workshop.run(f"metabench run --algo my-algorithm,protonet --backbone my-backbone --json --quiet {GLYPHS}")
    assert done.returncode == 0, done.stderr
    mine, protonet = json.loads(done.stdout)["rows"]
    assert mine["algorithm"] == "my-algorithm"
    assert 20 < mine["accuracy"] < 100
    assert mine["key"] != protonet["key"]
    done = workshop.run("metabench run --algo nearest-mean --dataset my-dataset --shots 1,5 --json --quiet")
    one, five = json.loads(done.stdout)["rows"]
    assert 30 < one["accuracy"] < five["accuracy"] < 100  # neither noise nor child's play
    done = workshop.run(f"metabench run --algo chance --protocol my-protocol --json --quiet {DATA}")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["protocol"], row["way"], row["query"]) == ("my-protocol", 5, None)


def test_what_is_written_is_linted_formatted_and_typed(workshop: Sandbox) -> None:
    files = sorted(str(file.relative_to(workshop.work)) for file in workshop.work.rglob("*.py"))
    files = [file for file in files if "build" not in file]
    assert len(files) == len(WRITTEN) * (2 + 3)
    path = os.pathsep.join([str(ROOT), *(f"my-{name}/src" for name in WRITTEN)])
    cache = ROOT / ".mypy_cache"  # torch takes long to read
    for words in (
        ["ruff", "check", "--isolated", "--no-cache", "--select", "E4,E7,E9,F,I,UP,B,SIM,RUF", *files],
        ["ruff", "format", "--isolated", "--no-cache", "--check", *files],
        ["mypy", "--config-file=", "--strict", "--cache-dir", str(cache), "--explicit-package-bases", *files],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=workshop.work, env={**os.environ, "MYPYPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_taken_name_is_refused(workshop: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "algorithm", "protonet", "--dir", str(tmp_path)]) == 2
    assert "cannot create algorithm 'protonet': metabench:algorithms has one of this name" in capsys.readouterr().err
    assert main(["new", "backbone", "protonet", "--dir", str(tmp_path)]) == 0  # of another kind
    done = workshop.run("metabench new algorithm my-algorithm --dir elsewhere")
    assert done.returncode == 2
    assert (
        "cannot create algorithm 'my-algorithm': metabench-my-algorithm:my-algorithm has one of this name"
        in done.stderr
    )


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "dataset", "My-Birds", "--dir", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in ("kind", "name", "module", "class")} == {
        "kind": "dataset", "name": "My-Birds", "module": "my_birds", "class": "MyBirds",
    }  # fmt: skip
    assert told["files"] == [str(tmp_path / "my_birds.py"), str(tmp_path / "test_my_birds.py")]
    assert told["next"][0] == f"metabench check My-Birds --plugin {tmp_path / 'my_birds.py'}"


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["algoritm", "x"], "error: unknown kind 'algoritm'; did you mean 'algorithm'?\n"),
        (
            ["dataset", "x", "--staged"],
            "error: cannot write a dataset in stages: only algorithms have stages of training. Leave --staged out.\n",
        ),
        (["dataset"], "error: Missing argument 'NAME'; try 'metabench new --help'\n"),
        (["dataset", "a/b"], "error: 'a/b' cannot be a plugin's name: use letters and digits, then also any of _.+-\n"),
    ):
        assert main(["new", *words, "--dir", str(tmp_path)]) == 2
        assert capsys.readouterr().err == message
    assert list(tmp_path.iterdir()) == []
