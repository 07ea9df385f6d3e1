"""``metabench run --suite`` from the outside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from metabench.cli.main import main
from tests.cli.suite_runs import SUITE, answer, suite_arguments
from tests.tiny import arguments, record_of


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METABENCH_DATA", raising=False)


def test_one_row_for_each_algorithm(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    assert main(suite_arguments(tmp_path, suite)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mine@3: a try"
    assert lines[2].split("  ")[0] == "rank"
    assert lines[2].endswith("3-way 2-shot")
    first, second = (line.split() for line in lines[4:6])
    assert (first[:2], second[:2]) == (["1", "nearest-mean"], ["2", "chance"])
    assert first[5:8] == ["2", "of", "2"]
    assert main(suite_arguments(tmp_path, suite, "--markdown")) == 0
    assert "| 1 | nearest-mean |" in " ".join(capsys.readouterr().out.split())


def test_json_and_csv_agree_with_the_records(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    found = answer(capsys, suite_arguments(tmp_path, suite, "--csv", str(tmp_path / "out.csv")))
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
    found = answer(capsys, suite_arguments(tmp_path, suite))
    for line in found["standings"]:
        assert [cell["ci95"] is None for cell in line["cells"]] == [False, True]
        assert (line["rank"], line["ci95"]) == (None, None)
        assert line["mean"] == pytest.approx(sum(cell["score"] for cell in line["cells"]) / 2)
    assert main(suite_arguments(tmp_path, suite)) == 0
    first = capsys.readouterr().out.splitlines()[4].split()
    assert first[0] == "-"
    assert first[3] != "±"


def test_the_same_run_in_a_suite_and_outside(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    home = tmp_path / "home"
    assert main(arguments(home, "--ways", "3", "--episodes", "40", algo="chance")) == 0
    (outside,) = (home / "records").glob("*.json")
    assert "suites" not in json.loads(outside.read_text())["provenance"]
    rows = answer(capsys, suite_arguments(tmp_path, suite, algo="chance"))["rows"]
    assert [row["cached"] for row in rows] == [True, False]
    assert outside.stem == rows[0]["key"]
    for row in rows:
        (named,) = record_of(home, row)["provenance"]["suites"]
        assert (named["name"], named["version"], len(named["sha256"])) == ("mine", 3, 64)
    before = outside.read_bytes()
    answer(capsys, suite_arguments(tmp_path, suite, algo="chance"))
    assert outside.read_bytes() == before  # named once


def test_what_can_be_is_measured_and_the_rest_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, with_absent: Path
) -> None:
    found = answer(capsys, suite_arguments(tmp_path, with_absent), code=3)
    assert found["common"] == ["glyphs 3-way 1-shot", "glyphs 3-way 2-shot"]
    problems = [[cell["problem"][:9] for cell in line["cells"]] for line in found["standings"]]
    assert problems == [["", "", "omniglot:"]] * 2
    assert main(suite_arguments(tmp_path, with_absent)) == 3
    out = capsys.readouterr().out
    assert "mean and rank are over 2 of 3 cells: glyphs 3-way 1-shot, glyphs 3-way 2-shot" in out
    assert "* not measured, omniglot with nearest-mean, chance: omniglot: images_evaluation.zip" in out
    assert "2 of 3" in out
    assert all(row["cached"] for row in answer(capsys, suite_arguments(tmp_path, with_absent), code=3)["rows"])


def test_nothing_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "absent.toml"
    path.write_text('name = "absent"\nversion = 1\nsummary = "s"\n[[runs]]\ndatasets = ["omniglot"]\n')
    assert main(suite_arguments(tmp_path, path)) == 3
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
    found = answer(capsys, suite_arguments(tmp_path, suite), code=1)
    names = [(line["algorithm"], line["rank"] and line["rank"]["place"]) for line in found["standings"]]
    assert names == [("nearest-mean", 1), ("chance", None)]
    assert [cell["problem"] for cell in found["standings"][1]["cells"]] == ["RuntimeError: out of luck"] * 2


def test_what_cannot_be_stops_nothing_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, with_impossible: Path
) -> None:
    args = suite_arguments(tmp_path, with_impossible, algo="maml,chance")
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
    assert main(suite_arguments(tmp_path, suite, algo="chance,protonett")) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "unknown algorithm 'protonett'; did you mean 'protonet'" in err


def test_cells_of_different_metrics_are_told_and_not_ranked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    suite.write_text(SUITE + '[[runs]]\ndatasets = ["glyphs"]\nways = [3]\nprotocols = ["open-set"]\n')
    assert main(suite_arguments(tmp_path, suite)) == 0
    out = capsys.readouterr().out
    assert "auroc (%)" in out
    assert "cells of different metrics, are measured with every algorithm: there are no ranks" in out


def test_the_mean_over_one_cell_is_as_certain_as_the_cell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path
) -> None:
    """The spread between the seeds is in both."""
    suite.write_text(SUITE.replace("shots = [1, 2]", "shots = [1]"))
    args = suite_arguments(tmp_path, suite, "--seed", "0,1", "--set", "backbone.channels=4", algo="protonet")
    found = answer(capsys, args)
    (line,) = found["standings"]
    (group,) = found["seeds"]
    assert line["ci95"] == pytest.approx(line["cells"][0]["ci95"])
    assert line["ci95"] == pytest.approx(group["total95"])


def test_seeds_are_one_row(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    args = suite_arguments(tmp_path, suite, "--seed", "0,1", "--set", "backbone.channels=4", algo="protonet,chance")
    found = answer(capsys, args)
    first = found["standings"][0]
    assert first["algorithm"] == "protonet"
    records = [record_of(tmp_path / "home", {"key": key}) for key in first["cells"][0]["keys"]]
    assert [record["inputs"]["training"]["seed"] for record in records] == [0, 1]
    assert first["cells"][0]["score"] == pytest.approx(sum(r["summary"]["accuracy"] for r in records) / 2)


def test_backbones_tell_methods_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path, suite: Path) -> None:
    found = answer(capsys, suite_arguments(tmp_path, suite, "--backbone", "pixels,conv4", algo="nearest-mean"))
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
    assert main(suite_arguments(tmp_path, suite, *more)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_an_unknown_suite(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--algo", "chance", "--suite", "quikc", "--home", str(tmp_path)]) == 2
    assert "unknown suite 'quikc'; did you mean 'quick@1'?" in capsys.readouterr().err
