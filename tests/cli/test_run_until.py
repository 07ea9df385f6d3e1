"""``metabench run`` with open sampling, with a stop rule, and with several seeds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.main import main
from metabench.records.partial_scores import Partial
from metabench.records.scores import scores_of
from metabench.statistics.stopping import StopRule, checks
from tests.tiny import arguments, record_of, run_json

LARGE = {"data.test_classes": 40}


def _until(home: Path, *more: str) -> list[str]:
    args = arguments(home, "--until-ci", "1.5", *more, algo="nearest-mean", settings=LARGE)
    place = args.index("--episodes")
    return args[:place] + args[place + 2 :]


def test_a_run_goes_on_until_the_interval_is_narrow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, _until(tmp_path))
    assert row["interval"] == "anytime-asymptotic"
    assert 1 < row["ci95"] <= 1.5
    assert row["episodes"] in set(checks(100_000))
    record = record_of(tmp_path, row)
    assert record["inputs"]["evaluation"]["episodes"] == 100_000
    rule = StopRule(**record["inputs"]["evaluation"]["stop"])
    assert (rule.half_width, rule.bound) == (1.5, "asymptotic")
    assert rule.reached(scores_of(record["scores"]).shares) == row["episodes"]
    assert record["cost"]["episodes_per_second"] > 0
    # The same episodes, asked for by number, are the same run to a reader of the scores.
    args = arguments(tmp_path, algo="nearest-mean", settings=LARGE)
    args[args.index("--episodes") + 1] = str(row["episodes"])
    (plain,) = run_json(capsys, args)
    assert record_of(tmp_path, plain)["scores"] == record["scores"]
    assert plain["ci95"] < row["ci95"]


def test_a_cap_ends_it_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, _until(tmp_path, "--episodes", "150", "--bound", "bernstein"))
    assert (row["episodes"], row["interval"]) == (150, "anytime-bernstein")
    assert row["ci95"] > 1.5


@pytest.mark.parametrize("chunk", [33, 1000])
def test_the_end_does_not_depend_on_chunks_or_on_where_it_was_stopped(
    chunk: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = run_json(capsys, _until(tmp_path / "whole"))
    scores = record_of(tmp_path / "whole", whole)["scores"]
    monkeypatch.setattr("metabench.learners.feature_learner.chunk_size", lambda *_: chunk)
    monkeypatch.setattr("metabench.execution.score_run.scorer_digest", lambda *_: "")
    for done in (0, 77, whole["episodes"] - 1, whole["episodes"]):
        home = tmp_path / str(done)
        Partial(home, whole["key"]).append(np.array(scores["correct"][:done]) / 75)
        (row,) = run_json(capsys, _until(home))
        assert record_of(home, row)["scores"] == scores


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--until-ci", "0"], "--until-ci must be a half-width in points, above 0"),
        (["--until-ci", "1", "--sampling", "open"], "Leave --sampling open out"),
        (["--sampling", "open", "--query", "30"], "the split has 0; use fewer --ways, --shots or a smaller --query"),
    ],
)
def test_what_cannot_be(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, *words, algo="nearest-mean")) == 2
    assert message in capsys.readouterr().err


def test_open_sampling_uses_no_image_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"data.test_classes": 23, "data.instances": 41}
    args = arguments(tmp_path, "--sampling", "open", "--query", "4", algo="nearest-mean", settings=settings)
    (row,) = run_json(capsys, args)
    assert (row["episodes"], row["sampling"], row["interval"]) == (23 * 8 // 5, "open", "disjoint-t")
    record = record_of(tmp_path, row)
    assert max(record["scores"]["classes"]["episodes"]) == 8
    assert sum(record["scores"]["classes"]["episodes"]) == 5 * 36
    # Stopped in the middle, and in other chunks, it is the same.
    home = tmp_path / "again"
    monkeypatch.setattr("metabench.execution.score_run.scorer_digest", lambda *_: "")
    Partial(home, row["key"]).append(np.array(record["scores"]["correct"][:10]) / 20)
    (again,) = run_json(capsys, [*args[: args.index("--home")], "--home", str(home), *args[args.index("--home") + 2 :]])
    assert record_of(home, again)["scores"] == record["scores"]


def test_seeds_have_a_table_and_a_list_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = arguments(tmp_path, "--seed", "0,1")
    assert main(args) == 0
    out = capsys.readouterr().out
    assert "seeds (sd)" in out
    assert "2 (" in out
    assert main([*args, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [row["seed"] for row in document["rows"]] == [0, 1]
    (group,) = document["seeds"]
    assert group["keys"] == [row["key"] for row in document["rows"]]
    assert group["total95"] > 0
    assert main([*args, "--markdown"]) == 0
    assert sum(line.startswith("|") for line in capsys.readouterr().out.splitlines()) == 7
    assert main(arguments(tmp_path)) == 0
    assert "seeds" not in capsys.readouterr().out


def test_every_way_to_evaluate_has_a_key_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ways: list[list[str]] = [[], ["--sampling", "open", "--query", "2"], ["--until-ci", "30"], ["--query", "2"]]
    ways += [["--until-ci", "30", "--bound", "bernstein"], ["--until-ci", "31"]]
    keys = [run_json(capsys, arguments(tmp_path, *more, algo="chance"))[0]["key"] for more in ways]
    assert all(a != b for a, b in itertools.combinations(keys, 2))
