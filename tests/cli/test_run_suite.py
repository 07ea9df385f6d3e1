"""``metabench run --suite`` and ``--dry-run`` from the outside."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from metabench.cli.main import main
from metabench.records.partial_scores import Partial
from tests.conftest import Command
from tests.tiny import arguments, record_of

SUITE = """
name = "mine"
version = 3
summary = "a try"
episodes = 40
[settings]
data = { train_classes = 12, val_classes = 6, test_classes = 8 }
train = { way = 5, episodes = 4, validate_every = 3, validation_episodes = 6, validation_way = 4 }
[[runs]]
datasets = ["glyphs"]
ways = [3]
shots = [1, 2]
"""


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METABENCH_DATA", raising=False)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def with_absent(tmp_path: Path) -> Path:
    """One data set that is there, and one that is not."""
    path = tmp_path / "more.toml"
    path.write_text(
        'name = "more"\nversion = 1\nsummary = "a try"\nepisodes = 40\n'
        '[[runs]]\ndatasets = ["glyphs"]\nways = [3]\nshots = [1, 2]\n'
        "settings.data = { train_classes = 12, val_classes = 6, test_classes = 8 }\n"
        '[[runs]]\ndatasets = ["omniglot"]\n'
    )
    return path


def run(tmp_path: Path, suite: Path, *more: str, algo: str = "chance,nearest-mean") -> list[str]:
    return [
        "run",
        "--algo",
        algo,
        "--suite",
        str(suite),
        "--home",
        str(tmp_path / "home"),
        "-q",
        "--no-download",
        *more,
    ]


def answer(capsys: pytest.CaptureFixture[str], args: list[str], code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*args, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_one_row_for_each_algorithm(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    assert main(run(tmp_path, suite)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mine@3: a try"
    assert lines[2].split("  ")[0] == "rank"
    assert lines[2].endswith("3-way 2-shot")
    first, second = (line.split() for line in lines[4:6])
    assert (first[:2], second[:2]) == (["1", "nearest-mean"], ["2", "chance"])
    assert first[5:8] == ["2", "of", "2"]
    assert main(run(tmp_path, suite, "--markdown")) == 0
    assert "| 1 | nearest-mean |" in " ".join(capsys.readouterr().out.split())


def test_json_and_csv_agree_with_the_records(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    found = answer(capsys, run(tmp_path, suite, "--csv", str(tmp_path / "out.csv")))
    assert found["suite"]["cells"] == found["common"] == ["glyphs 3-way 1-shot", "glyphs 3-way 2-shot"]
    best = found["standings"][0]
    assert (best["algorithm"], best["rank"]) == ("nearest-mean", {"place": 1, "shared": False})
    records = [record_of(tmp_path / "home", {"key": cell["keys"][0]}) for cell in best["cells"]]
    accuracies = [record["summary"]["accuracy"] for record in records]
    assert [cell["score"] for cell in best["cells"]] == accuracies
    assert best["mean"] == pytest.approx(sum(accuracies) / 2)
    assert [row["accuracy"] for row in found["rows"] if row["algorithm"] == "nearest-mean"] == accuracies
    with (tmp_path / "out.csv").open() as stream:
        first, second = csv.DictReader(stream)
    assert (first["rank"], first["algorithm"], second["algorithm"]) == ("1", "nearest-mean", "chance")
    assert float(first["glyphs 3-way 2-shot"]) == accuracies[1]


def test_a_cell_of_one_episode_leaves_the_mean_without_interval_and_rank(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    """A single episode is no variance of zero: the mean must not look as certain as the other cell."""
    blocks = SUITE.replace("shots = [1, 2]", "shots = [1]\n[[runs]]\ndatasets = ['glyphs']\nways = [3]\nshots = [2]")
    suite.write_text(blocks + "episodes = 1\n")
    found = answer(capsys, run(tmp_path, suite))
    for line in found["standings"]:
        assert [cell["ci95"] is None for cell in line["cells"]] == [False, True]
        assert (line["rank"], line["ci95"]) == (None, None)
        assert line["mean"] == pytest.approx(sum(cell["score"] for cell in line["cells"]) / 2)
    assert main(run(tmp_path, suite)) == 0
    first = capsys.readouterr().out.splitlines()[4].split()
    assert first[0] == "-"
    assert first[3] != "±"


def test_the_same_run_in_a_suite_and_outside(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    home = tmp_path / "home"
    assert main(arguments(home, "--ways", "3", "--episodes", "40", algo="chance")) == 0
    (outside,) = (home / "records").glob("*.json")
    assert "suites" not in json.loads(outside.read_text())["provenance"]
    rows = answer(capsys, run(tmp_path, suite, algo="chance"))["rows"]
    assert [row["cached"] for row in rows] == [True, False]
    assert outside.stem == rows[0]["key"]
    for row in rows:
        (named,) = record_of(home, row)["provenance"]["suites"]
        assert (named["name"], named["version"], len(named["sha256"])) == ("mine", 3, 64)
    before = outside.read_bytes()
    answer(capsys, run(tmp_path, suite, algo="chance"))
    assert outside.read_bytes() == before  # named once


def test_what_can_be_is_measured_and_the_rest_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, with_absent: Path
) -> None:
    found = answer(capsys, run(tmp_path, with_absent), code=3)
    assert found["common"] == ["glyphs 3-way 1-shot", "glyphs 3-way 2-shot"]
    problems = [[cell["problem"][:9] for cell in line["cells"]] for line in found["standings"]]
    assert problems == [["", "", "omniglot:"]] * 2
    assert main(run(tmp_path, with_absent)) == 3
    out = capsys.readouterr().out
    assert "mean and rank are over 2 of 3 cells: glyphs 3-way 1-shot, glyphs 3-way 2-shot" in out
    assert "* not measured, omniglot with nearest-mean, chance: omniglot: images_evaluation.zip" in out
    assert "2 of 3" in out
    assert all(row["cached"] for row in answer(capsys, run(tmp_path, with_absent), code=3)["rows"])


def test_nothing_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "absent.toml"
    path.write_text('name = "absent"\nversion = 1\nsummary = "s"\n[[runs]]\ndatasets = ["omniglot"]\n')
    assert main(run(tmp_path, path)) == 3
    out = capsys.readouterr().out
    assert "are measured with every algorithm: there are no ranks" in out
    assert "0 of 1" in out


def test_without_a_suite_nothing_begins_where_something_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = arguments(tmp_path / "home", "--dataset", "glyphs,omniglot", "--no-download", algo="chance")
    assert main(args) == 3
    assert "omniglot: images_evaluation.zip" in capsys.readouterr().err
    assert not (tmp_path / "home" / "records").exists()


def test_a_failure_is_told_and_the_others_stand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metabench_algorithms.metric.chance import Chance

    def fail(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Chance, "logits", fail)
    found = answer(capsys, run(tmp_path, suite), code=1)
    names = [(line["algorithm"], line["rank"] and line["rank"]["place"]) for line in found["standings"]]
    assert names == [("nearest-mean", 1), ("chance", None)]
    assert [cell["problem"] for cell in found["standings"][1]["cells"]] == ["RuntimeError: out of luck"] * 2


@pytest.fixture
def with_impossible(tmp_path: Path) -> Path:
    """What can be, then three blocks that cannot: known before a look at the data, at it, and to one algorithm only."""
    (tmp_path / "own" / "a").mkdir(parents=True)
    (tmp_path / "own" / "b").mkdir()
    for path in (tmp_path / "own" / name / f"{index}.png" for name in "ab" for index in range(2)):
        Image.new("L", (8, 8)).save(path)
    path = tmp_path / "partly.toml"
    suite = SUITE.replace("mine", "partly").replace("way = 5", "way = 3").replace("_way = 4", "_way = 3")
    head, _, first = suite.partition("[settings]\n")
    settings, _, rest = first.partition("[[runs]]\n")
    glyphs = "[[runs]]\n" + "".join(f"settings.{line}\n" for line in settings.splitlines())
    path.write_text(
        f"{head}{glyphs}{rest}"
        f'{glyphs}datasets = ["glyphs"]\nprotocols = ["meta-dataset"]\n'
        f'{glyphs}datasets = ["glyphs"]\nways = [9]\n'
        f'[[runs]]\ndatasets = ["folder:{tmp_path / "own"}"]\nways = [2]\nshots = [4]\n'
    )
    return path


def test_what_cannot_be_stops_nothing_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, with_impossible: Path
) -> None:
    args = run(tmp_path, with_impossible, algo="maml,chance")
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert "2 of 5" in out and "3 of 5" in out
    for reason in (
        "maml is made for one number of classes, and episodes of 'meta-dataset' differ in it",
        "9-way needs 9 classes but the split has 8",
        "has no classes to meta-train maml on",
        "class 'a' has 2 images, and 4 shots need 5",
    ):
        assert sum(reason in line for line in out.splitlines() if line.startswith("* not measured")) == 1
        assert sum(reason in line for line in err.splitlines() if " is left out: " in line) == 1
    found = answer(capsys, args, code=2)
    assert [row["cached"] for row in found["rows"]] == [True] * 5
    dry = answer(capsys, [*args, "--dry-run"], code=2)["runs"]
    states = [(row["algorithm"], row["dataset"].partition(":")[0], row["protocol"], row["state"]) for row in dry]
    assert [state[:3] for state in states if state[3] == "impossible"] == [
        ("maml", "glyphs", "meta-dataset"), ("maml", "folder", "fixed-way"), ("chance", "folder", "fixed-way")
    ]  # fmt: skip
    assert main([*args, "--dry-run"]) == 2
    assert "impossible for 1 run: maml is made for one number of classes" in capsys.readouterr().out


def test_a_request_that_is_wrong_itself_stops_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    assert main(run(tmp_path, suite, algo="chance,protonett")) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "unknown algorithm 'protonett'; did you mean 'protonet'" in err


def test_cells_of_different_metrics_are_told_and_not_ranked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    suite.write_text(SUITE + '[[runs]]\ndatasets = ["glyphs"]\nways = [3]\nprotocols = ["open-set"]\n')
    assert main(run(tmp_path, suite)) == 0
    out = capsys.readouterr().out
    assert "auroc (%)" in out
    assert "cells of different metrics, are measured with every algorithm: there are no ranks" in out


def test_the_mean_over_one_cell_is_as_certain_as_the_cell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    """The spread between the seeds is in both."""
    suite.write_text(SUITE.replace("shots = [1, 2]", "shots = [1]"))
    args = run(tmp_path, suite, "--seed", "0,1", "--set", "backbone.channels=4", algo="protonet")
    found = answer(capsys, args)
    (line,) = found["standings"]
    (group,) = found["seeds"]
    assert line["ci95"] == pytest.approx(line["cells"][0]["ci95"])
    assert line["ci95"] == pytest.approx(group["total95"])


def test_seeds_are_one_row(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    args = run(tmp_path, suite, "--seed", "0,1", "--set", "backbone.channels=4", algo="protonet,chance")
    found = answer(capsys, args)
    first = found["standings"][0]
    assert first["algorithm"] == "protonet"
    records = [record_of(tmp_path / "home", {"key": key}) for key in first["cells"][0]["keys"]]
    assert [record["inputs"]["training"]["seed"] for record in records] == [0, 1]
    assert first["cells"][0]["score"] == pytest.approx(sum(r["summary"]["accuracy"] for r in records) / 2)


def test_backbones_tell_methods_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    found = answer(capsys, run(tmp_path, suite, "--backbone", "pixels,conv4", algo="nearest-mean"))
    assert {line["algorithm"] for line in found["standings"]} == {"nearest-mean pixels", "nearest-mean conv4"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--ways", "3"), "suite mine@3 settles ways; leave that to it"),
        (("--set", "data.size=20"), "suite mine@3 settles data.size;"),
        (("--csv", "x.csv", "--dry-run"), "--csv and --dry-run exclude each other"),
    ],
)
def test_bad_use(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path, more: tuple[str, ...], message: str
) -> None:
    assert main(run(tmp_path, suite, *more)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_an_unknown_suite(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--algo", "chance", "--suite", "quikc", "--home", str(tmp_path)]) == 2
    assert "unknown suite 'quikc'; did you mean 'quick@1'?" in capsys.readouterr().err


def test_a_dry_run_tells_how_every_run_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, with_absent: Path
) -> None:
    def states(code: int = 3) -> list[tuple[str, str]]:
        found = answer(capsys, run(tmp_path, with_absent, "--dry-run", algo="chance"), code)
        return [(row["dataset"], row["state"]) for row in found["runs"]]

    assert states() == [("glyphs", "to do"), ("glyphs", "to do"), ("omniglot", "missing")]
    assert not (tmp_path / "home" / "records").exists()
    main(run(tmp_path, with_absent, algo="chance"))
    assert states() == [("glyphs", "cached"), ("glyphs", "cached"), ("omniglot", "missing")]
    assert main(run(tmp_path, with_absent, "--dry-run", algo="chance")) == 3
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
    args = [word for word in run(tmp_path, path, "--dry-run", algo="chance") if word != "--no-download"]
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
    before = answer(capsys, run(tmp_path, suite, "--dry-run", *wide, algo="protonet"))
    assert ({row["seconds"] for row in before["runs"]}, before["unknown"]) == ({None}, 2)
    assert main(arguments(home, "--ways", "3", "--episodes", "60")) == 0  # 8 training episodes, 60 measured
    for file in (home / "records").glob("*.json"):
        record = json.loads(file.read_text())
        record["training"]["seconds"] = 80.0
        record["cost"] |= {"scoring_seconds": 30.0, "embedding_seconds": 2.0}
        file.write_text(json.dumps(record))
    after = answer(capsys, run(tmp_path, suite, "--dry-run", *wide, algo="protonet"))
    first, second = after["runs"]
    # 1-shot: 4 of 8 episodes and 40 of 60, each with the same images; 2-shot: an image more of each class.
    assert first["seconds"] == pytest.approx(80 * 4 / 8 + 30 * 40 / 60 + 2, abs=0.1)
    assert second["seconds"] == pytest.approx(80 * 4 / 8 * 5 / 4 + 30 * 40 / 60 * 17 / 16 + 2, abs=0.1)
    assert after["seconds"] == pytest.approx(first["seconds"] + second["seconds"], abs=0.2)
    assert after["unknown"] == 0


def test_a_dry_run_sees_what_was_begun(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    (first, _) = answer(capsys, run(tmp_path, suite, algo="chance"))["rows"]
    home = tmp_path / "home"
    (home / "records" / f"{first['key']}.json").unlink()
    Partial(home, first["key"]).append([3] * 10)
    found = answer(capsys, run(tmp_path, suite, "--dry-run", algo="chance"))["runs"]
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
