"""Runs that are killed, stopped or damaged go on and end the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metabench.cli.main import main
from metabench.execution import score_run
from metabench.records.partial_scores import PartialScores
from metabench.records.scores import scores_of
from metabench.training.trainer import Trainer
from tests.execution.resuming import check_same
from tests.tiny import arguments, record_of, run_json

KILL_THEMSELVES = """
import os, signal, sys
from pathlib import Path
import scipy.special
import torch
from metabench.execution import score_run
from metabench.training import trainer as training
from metabench.cli.main import main

score_run.FLUSH_SECONDS = training.SAVE_SECONDS = -1.0  # save at every opportunity
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # its first use imports as much as torch itself
step, evaluate = training.Trainer._step, score_run.evaluate

def run(where, number, folder, args):
    def killing_step(trainer):
        loss = step(trainer)
        if where == "training" and trainer.progress.position == 5:
            os.kill(os.getpid(), number)
        return loss

    def killing_evaluate(head, features, source, episodes, done, report, **more):
        calls = []
        def reporting(correct):
            calls.append(len(correct))
            if where == "evaluation" and len(calls) == 2:
                os.kill(os.getpid(), number)
            report(correct)
        return evaluate(head, features, source, episodes, done, reporting, chunk=20, **more)

    training.Trainer._step, score_run.evaluate = killing_step, killing_evaluate
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    os._exit(main([*args, "--home", str(folder / "home")]))

# Each run is a process of its own; torch is imported once, before they part.
root, *args = sys.argv[1:]
for where in ("training", "evaluation"):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        folder = Path(root, f"{where}-{number.name}")
        folder.mkdir()
        child = os.fork()
        if child == 0:
            run(where, number, folder, args)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (folder / "code").write_text(str(code))
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each (where, signal): what a process that it stopped left, and its ``home``."""
    root = tmp_path_factory.mktemp("stopped")
    words = [sys.executable, "-c", KILL_THEMSELVES, str(root), *arguments(root / "unused")]
    subprocess.run(words, check=True, timeout=300)
    return root


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_a_process_stopped_anywhere_goes_on_and_ends_the_same(
    capsys: pytest.CaptureFixture[str],
    stopped: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    number: signal.Signals,
) -> None:
    folder = stopped / f"{where}-{number.name}"
    home = folder / "home"
    asked = number != signal.SIGKILL
    said = (folder / "stderr").read_text()
    assert int((folder / "code").read_text()) == (130 if asked else -signal.SIGKILL), said
    assert (folder / "stdout").read_text() == ""
    assert said == ("interrupted; run the same command again to resume\n" if asked else "")
    records = [path.read_text() for path in (home / "records").glob("*.json")]
    assert len(records) == asked
    assert all('"status":"interrupted"' in "".join(text.split()) for text in records)

    steps: list[int] = []
    step = Trainer._step

    def counting(trainer: Trainer) -> float:
        steps.append(trainer.progress.position)
        return step(trainer)

    monkeypatch.setattr(Trainer, "_step", counting)
    partial = [np.fromfile(path, "<f8", offset=32).tolist() for path in (home / "partial").glob("*")]
    if where == "training":
        assert partial == []
        assert len(list((home / "models").glob("*/state.safetensors"))) == 1
    else:
        assert len(partial) == 1
        assert len(partial[0]) == (40 if asked else 20)  # SIGKILL loses the chunk under way, a request nothing
    (row,) = run_json(capsys, arguments(home))
    # A request loses no step of training, SIGKILL the one under way; an evaluation never trains again.
    assert steps == ([] if where == "evaluation" else list(range(5 if asked else 4, 8)))
    check_same(home, row, whole)
    for scores in partial:
        assert scores_of(record_of(home, row)["scores"]).shares.tolist()[: len(scores)] == scores
    assert not list((home / "partial").glob("*"))
    assert not list((home / "models").glob("*/state.safetensors"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_optimizer_resumes_exactly(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    settings = {"train.optimizer": optimizer, "train.weight_decay": 0.1, "train.lr_step": 3}
    (row,) = run_json(capsys, arguments(tmp_path / "whole", settings=settings))
    step = Trainer._step

    def stopping(trainer: Trainer) -> float:
        loss = step(trainer)
        if trainer.progress.position == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        assert main(arguments(tmp_path / "cut", settings=settings)) == 130
    (again,) = run_json(capsys, arguments(tmp_path / "cut", settings=settings))
    assert again["key"] == row["key"]
    check_same(tmp_path / "cut", again, tmp_path / "whole")


def test_where_the_machine_fails_scores_are_kept_and_where_the_code_does_they_are_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = score_run.evaluate

    def failing(error: Exception) -> Callable[..., Any]:
        def instead(learner: Any, data: Any, source: Any, episodes: int, done: Any, report: Any, **more: Any) -> Any:
            seen = len(done)

            def reporting(scores: Any) -> Any:
                nonlocal seen
                if seen >= 40:
                    raise error
                seen += len(scores)
                return report(scores)

            return evaluate(learner, data, source, episodes, done, reporting, chunk=20, **more)

        return instead

    for error, left in ((ValueError("x"), 0), (torch.OutOfMemoryError("x"), 40)):
        monkeypatch.setattr(score_run, "evaluate", failing(error))
        (row,) = run_json(capsys, arguments(tmp_path), code=1)
        assert row["status"] == "failed"
        assert len(PartialScores(tmp_path, row["key"]).load()) == left
    monkeypatch.setattr(score_run, "evaluate", evaluate)
    (row,) = run_json(capsys, arguments(tmp_path))
    check_same(tmp_path, row, whole)
    record = record_of(tmp_path, row)
    seconds, scored = record["cost"]["scoring_seconds"], row["episodes"] - 40
    assert record["cost"]["episodes_per_second"] == pytest.approx(scored / seconds, rel=0.2)


def test_scores_of_other_weights_are_not_gone_on_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path
) -> None:
    (row,) = run_json(capsys, arguments(whole))
    PartialScores(tmp_path, row["key"], scorer="11" * 32).append([0.0] * 10)
    (again,) = run_json(capsys, arguments(tmp_path))
    assert again["key"] == row["key"]
    check_same(tmp_path, again, whole)
