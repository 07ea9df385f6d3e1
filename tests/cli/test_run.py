"""``metabench run`` from the outside: results, the store, resume, and what bad input says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from metabench.cli.main import main
from metabench.execution import score_run, weights
from metabench.records import store
from tests.tiny import arguments, record_of, run_json
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home shared by tests that do not mind what is already measured."""
    return tmp_path_factory.mktemp("home")


def fails(capsys: pytest.CaptureFixture[str], args: list[str], code: int) -> str:
    """Run, expect an exit code and exactly one line of error; return the line."""
    capsys.readouterr()
    assert main(args) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.strip()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--algo", "protonett"], 2, "unknown algorithm 'protonett'; did you mean 'protonet'?"),
        (["--dataset", "glyph"], 2, "unknown dataset 'glyph'; did you mean 'glyphs'?"),
        (["--backbone", "conv5"], 2, "unknown backbone 'conv5'; did you mean 'conv4'?"),
        (["--protocol", "fixed"], 2, "unknown protocol 'fixed'; did you mean 'fixed-way'?"),
        (["--shots", "0"], 2, "--shots must be at least 1, not 0"),
        (["--shots", "a"], 2, "--shots takes whole numbers separated by commas, not 'a'"),
        (["--ways", "1"], 2, "--ways must be at least 2, not 1"),
        (["--ways", "300"], 2, "300-way needs 300 classes but the split has 8; use --ways 8 or fewer"),
        (["--shots", "7"], 2, "are more than the 20 of class 'glyph2000000'; the largest legal --query is 13"),
        (["--shots", "25"], 2, "are more than the 20 of class 'glyph2000000'; use --shots 19 or fewer"),
        (["--query", "0"], 2, "--query must be at least 1, not 0"),
        (["--episodes", "0"], 2, "--episodes must be at least 1, not 0"),
        (["--episodes", "1000001"], 2, "--episodes must be at most 1000000"),
        (["--set", "algo.k=3"], 2, "algorithm 'protonet' has no parameter 'k'"),
        (["--set", "backbone.channels=many"], 2, "parameter 'channels' of backbone 'conv4' is a whole number"),
        (["--set", "train.episode=3"], 2, "no such setting; did you mean 'episodes'?"),
        (["--set", "train.lr=fast"], 2, "--set train.lr must be a number, not 'fast'"),
        (["--set", "lr=1"], 2, "--set lr: write SCOPE.NAME=VALUE"),
        (["--set", "train.lr"], 2, "--set train.lr: write SCOPE.NAME=VALUE"),
        (
            ["--set", "train.way=13"],
            2,
            "'train' of glyphs: 13-way needs 13 classes but the split has 12; use --set ",
        ),
        (["--checkpoint", "/does/not/exist"], 3, "no checkpoint at /does/not/exist"),
        (["--device", "gpu"], 2, "unknown device 'gpu'; use auto, cpu, cuda or cuda:N"),
        (["--json", "--markdown"], 2, "--json and --markdown exclude each other"),
        (["--csv", "/does/not/exist.csv"], 2, "folder /does/not not found"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], home: Path, change: list[str], code: int, message: str
) -> None:
    assert message in fails(capsys, arguments(home, *change), code)


def test_a_gpu_that_is_not_there(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = fails(capsys, arguments(home, "--device", "cuda:1"), 3)
    assert message == "error: cannot use CUDA: torch sees no CUDA device. Use --device cpu or auto."


def test_a_home_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = fails(capsys, arguments(tmp_path / "file" / "home"), 1)
    assert "cannot write to home" in message
    assert "Choose another with --home or METABENCH_HOME" in message


def test_nothing_to_learn(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    args = arguments(
        home, "--backbone", "pixels", "--set", "algo.metric=euclidean", "--set", "train.way=5", algo="chance"
    )
    args[args.index("chance")] = "matching-net"
    assert "has nothing to learn; use a backbone that learns" in fails(capsys, args, 2)


def test_an_algorithm_without_weights_on_a_backbone_without_any_is_evaluated_as_it_is(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    settings = ["--set", "data.test_classes=8", "--backbone", "pixels", "--episodes", "60", "--home", str(home)]
    protonet, mean = run_json(capsys, ["run", "--algo", "protonet,nearest-mean", *settings, "--quiet"])
    assert record_of(home, protonet)["inputs"]["training"] is None
    assert protonet["accuracy"] == mean["accuracy"]


def test_a_checkpoint_gives_the_same_scores(capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path) -> None:
    (row,) = run_json(capsys, arguments(tmp_path))
    (weights,) = (tmp_path / "models").glob("*/weights.safetensors")
    (other,) = run_json(capsys, arguments(home, "--checkpoint", str(weights)))
    assert other["key"] != row["key"]
    assert record_of(home, other)["scores"] == record_of(tmp_path, row)["scores"]
    message = fails(capsys, arguments(home, "--checkpoint", str(weights), settings={"backbone.channels": 8}), 2)
    assert "does not fit this architecture: backbone.blocks.0.conv.bias is (4,) there and (8,) here" in message
    weights.write_bytes(weights.read_bytes()[:100])
    assert "is not a readable safetensors checkpoint" in fails(capsys, arguments(home, "--checkpoint", str(weights)), 1)


def test_rerun_measures_again_with_the_same_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (row,) = run_json(capsys, arguments(tmp_path))
    before = record_of(tmp_path, row)
    (again,) = run_json(capsys, arguments(tmp_path, "--rerun"))
    assert not again["cached"]
    after = record_of(tmp_path, again)
    assert after["scores"] == before["scores"]
    assert after["training"] == before["training"]


def test_a_corrupt_record_is_moved_aside_and_measured_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (row,) = run_json(capsys, arguments(tmp_path, algo="chance"))
    path = tmp_path / "records" / f"{row['key']}.json"
    path.write_bytes(path.read_bytes()[:-200])
    capsys.readouterr()
    assert main([*arguments(tmp_path, algo="chance"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "moved to" in err
    assert json.loads(out)["rows"][0] == row
    assert path.with_name(path.name + ".corrupt").exists()


def test_a_failed_run_is_recorded_and_tried_again_and_others_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments(tmp_path, algo="chance")
    args[args.index("chance")] = "nearest-mean,chance"
    good = score_run.evaluate

    def evaluate(learner: Any, *rest: Any, **more: Any) -> str:
        if type(learner.module.head).__name__ == "NearestMean":
            raise RuntimeError("a bug\nin the head")
        return good(learner, *rest, **more)

    monkeypatch.setattr(score_run, "evaluate", evaluate)
    bad, fine = run_json(capsys, args, code=1)
    assert (bad["status"], bad["accuracy"], fine["status"]) == ("failed", None, "ok")
    record = record_of(tmp_path, bad)
    assert record["error"] == {"type": "RuntimeError", "message": "a bug in the head"}
    monkeypatch.setattr(score_run, "evaluate", good)
    again, cached = run_json(capsys, args)
    assert (again["status"], again["cached"], cached["cached"]) == ("ok", False, True)


@pytest.mark.parametrize("where", ["record", "weights", "partial"])
def test_a_full_disk_is_one_line_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")

    with monkeypatch.context() as patch:
        if where == "record":
            patch.setattr(store, "write_record", full)
        elif where == "weights":
            patch.setattr(weights, "save_tensors", full)
        else:
            patch.setattr(score_run, "FLUSH_SECONDS", -1.0)
            patch.setattr("metabench.records.partial_scores.PartialScores.append", full)
        message = fails(capsys, arguments(tmp_path), 1)
    assert message == (
        "error: no space left on device while writing some/file; free some space and run the same command again"
    )
    (row,) = run_json(capsys, arguments(tmp_path))
    assert row["status"] == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_evaluation_goes_on_where_it_stopped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    good = score_run.evaluate
    counted: list[int] = []

    def evaluate(*args: Any, **more: Any) -> str:
        report = args[5]

        def reporting(correct: Any) -> None:
            counted.append(len(correct))
            if sum(counted) == 40:
                os.kill(os.getpid(), number)
            report(correct)

        return good(*args[:5], reporting, chunk=20)

    monkeypatch.setattr(score_run, "evaluate", evaluate)
    args = arguments(tmp_path, algo="nearest-mean")
    assert main(args) == 130
    assert "interrupted; run the same command again to resume" in capsys.readouterr().err
    (partial,) = (tmp_path / "partial").iterdir()
    assert partial.stat().st_size == 32 + 40 * 8
    assert "interrupted" in next((tmp_path / "records").glob("*.json")).read_text()
    (row,) = run_json(capsys, args)
    assert counted == [20, 20, 20]
    monkeypatch.setattr(score_run, "evaluate", good)
    (whole,) = run_json(capsys, [*args, "--home", str(tmp_path / "other")])
    assert record_of(tmp_path / "other", whole)["scores"] == record_of(tmp_path, row)["scores"]
    assert not list((tmp_path / "partial").iterdir())


def _start(args: list[str], prelude: str = "pass") -> subprocess.Popen[str]:
    code = f"import sys; {prelude}; from metabench.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_real_process_killed_in_training_ends_the_same(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, number: signal.Signals
) -> None:
    settings = {"train.episodes": 100, "train.validate_every": 20}
    args = arguments(tmp_path / "cut", settings=settings)
    process = _start(args, "from metabench.training import trainer; trainer.SAVE_SECONDS = -1.0")
    models = tmp_path / "cut" / "models"
    wait_until(lambda: list(models.glob("*/state.safetensors")) or process.poll() is not None)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert not list((tmp_path / "cut" / "models").glob("*/weights.safetensors"))
    (row,) = run_json(capsys, args)
    (whole,) = run_json(capsys, arguments(tmp_path / "whole", settings=settings))
    cut, full = record_of(tmp_path / "cut", row), record_of(tmp_path / "whole", whole)
    assert cut["scores"] == full["scores"]
    assert cut["training"]["curve"] == full["training"]["curve"]
    assert cut["training"]["best_episode"] == full["training"]["best_episode"]


def test_two_processes_do_the_work_once(tmp_path: Path) -> None:
    args = [*arguments(tmp_path), "--json"]
    both = [_start(args), _start(args)]
    rows = []
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        rows += json.loads(out)["rows"]
    assert sorted(row.pop("cached") for row in rows) == [False, True]
    assert rows[0] == rows[1]
    assert len(list((tmp_path / "models").iterdir())) == 1
