"""One run to one record: killed and resumed, failed, damaged files, and the signals themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import metabench
from metabench.cli.main import main
from metabench.errors import UsageError
from metabench.execution import executor
from metabench.models.checkpoints import load_tensors
from metabench.models.embedding import embed
from metabench.records.partial_scores import Partial
from metabench.records.scores import scores_of
from metabench.registry.loader import PluginSet
from metabench.training import trainer
from metabench.training.trainer import Trainer
from metabench.utils.signals import stop_on_signal
from tests.tiny import SETTINGS, arguments, record_of, run_json

KILL_THEMSELVES = """
import os, signal, sys
from pathlib import Path
import scipy.special
import torch
from metabench.execution import executor
from metabench.training import trainer
from metabench.cli.main import main

execute._FLUSH_SECONDS = training._SAVE_SECONDS = -1.0  # save at every opportunity
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # its first use imports as much as torch itself
step, evaluate = training.Trainer._step, execute.evaluate

def run(where, number, folder, args):
    def killing_step(trainer):
        loss = step(trainer)
        if where == "training" and trainer.progress.episode == 5:
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

    training.Trainer._step, execute.evaluate = killing_step, killing_evaluate
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


def weights_of(home: Path) -> dict[str, Tensor]:
    (path,) = (home / "models").glob("*/weights.safetensors")
    return load_tensors(path)[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a run that nobody interrupted."""
    home = tmp_path_factory.mktemp("whole")
    assert main(arguments(home)) == 0
    return home


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each (where, signal): what a process that it stopped left, and its ``home``."""
    root = tmp_path_factory.mktemp("stopped")
    words = [sys.executable, "-c", KILL_THEMSELVES, str(root), *arguments(root / "unused")]
    subprocess.run(words, check=True, timeout=300)
    return root


def check_same(home: Path, row: dict[str, Any], whole: Path) -> None:
    """The record and the weights in `home` are those of the run that nobody interrupted."""
    here, there = record_of(home, row), record_of(whole, row)
    assert here["scores"] == there["scores"]
    assert here["summary"] == there["summary"]
    for name in ("curve", "best_episode", "best_loss", "episode"):
        assert here["training"][name] == there["training"][name]
    mine, theirs = weights_of(home), weights_of(whole)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


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
        steps.append(trainer.progress.episode)
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
        if trainer.progress.episode == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        assert main(arguments(tmp_path / "cut", settings=settings)) == 130
    (again,) = run_json(capsys, arguments(tmp_path / "cut", settings=settings))
    assert again["key"] == row["key"]
    check_same(tmp_path / "cut", again, tmp_path / "whole")


def breaking(monkeypatch: pytest.MonkeyPatch, episode: int) -> None:
    """Make the training loss of protonet NaN at one episode."""
    loss = Trainer._loss

    def broken(trainer: Trainer, batch: Any) -> float:
        return loss(trainer, batch) * (float("nan") if trainer.progress.episode == episode else 1.0)

    monkeypatch.setattr(Trainer, "_loss", broken)


def test_a_training_that_diverges_is_a_failed_record_and_the_others_are_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = [word.replace("protonet", "protonet,chance") for word in arguments(tmp_path)]
    with monkeypatch.context() as patch:
        breaking(patch, episode=3)
        for cached in (False, True):  # a failed run is never taken from the store
            bad, good = run_json(capsys, args, code=1)
            assert (bad["status"], bad["accuracy"], bad["cached"]) == ("failed", None, False)
            assert (good["status"], good["cached"]) == ("ok", cached)
        record = record_of(tmp_path, bad)
        (best,) = (tmp_path / "models").glob("*/best.safetensors")
        message = (
            "the training loss is nan at episode 3; try a lower --set train.lr, or algo.lr where the algorithm has an "
            f"inner rate. The best weights before, of episode 3, can be used: --checkpoint {best}"
        )
        assert record["error"] == {"type": "Diverged", "message": message}
        assert record["scores"] is None
        assert main(args) == 1
        assert f"warning: protonet on glyphs, 5-way 1-shot failed: {message}\n" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        breaking(patch, episode=1)  # before there are weights to name: the same words for every seed
        assert main([*arguments(tmp_path), "--seed", "5,6"]) == 1
        assert capsys.readouterr().err.count("failed: the training loss is nan at episode 1") == 1
    (used,) = run_json(capsys, arguments(tmp_path, "--checkpoint", str(best)))
    assert used["status"] == "ok"
    mended, _ = run_json(capsys, args)
    assert (mended["status"], mended["cached"]) == ("ok", False)
    check_same(tmp_path, mended, whole)


def test_a_validation_loss_that_is_no_number_fails_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "validation_scores", lambda trainer: (float("nan"), 20.0))
    (row,) = run_json(capsys, arguments(tmp_path), code=1)
    assert record_of(tmp_path, row)["error"]["message"].startswith("the validation loss is nan at episode 3;")


def test_a_rerun_that_fails_does_not_replace_what_succeeded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = run_json(capsys, arguments(tmp_path, algo="chance"))
    before = record_of(tmp_path, row)

    def broken(*args: object) -> str:
        raise ValueError

    monkeypatch.setattr(executor, "evaluate", broken)
    (failed,) = run_json(capsys, arguments(tmp_path, "--rerun", algo="chance"), code=1)
    assert failed["status"] == "failed"
    assert record_of(tmp_path, row) == before


def test_where_the_machine_fails_scores_are_kept_and_where_the_code_does_they_are_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = executor.evaluate

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
        monkeypatch.setattr(executor, "evaluate", failing(error))
        (row,) = run_json(capsys, arguments(tmp_path), code=1)
        assert row["status"] == "failed"
        assert len(Partial(tmp_path, row["key"]).load()) == left
    monkeypatch.setattr(executor, "evaluate", evaluate)
    (row,) = run_json(capsys, arguments(tmp_path))
    check_same(tmp_path, row, whole)
    record = record_of(tmp_path, row)
    seconds, scored = record["cost"]["scoring_seconds"], row["episodes"] - 40
    assert record["cost"]["episodes_per_second"] == pytest.approx(scored / seconds, rel=0.2)


def test_scores_of_other_weights_are_not_gone_on_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path
) -> None:
    (row,) = run_json(capsys, arguments(whole))
    Partial(tmp_path, row["key"], scorer="11" * 32).append([0.0] * 10)
    (again,) = run_json(capsys, arguments(tmp_path))
    assert again["key"] == row["key"]
    check_same(tmp_path, again, whole)


def test_words_of_python_that_are_wrong(tmp_path: Path) -> None:
    for words, message in (
        ({"seed": 1}, "run\\(\\) takes no seed=; did you mean 'seeds'"),
        ({"train_episodes": 3}, 'write settings={"train.episodes": 3}'),
        ({"shots": "1,5"}, "shots takes whole numbers, not '1,5'"),
        ({"episodes": 1.5}, "episodes takes whole numbers, not 1.5"),
        ({"backbone": object()}, "a plugin"),
    ):
        with pytest.raises(UsageError, match=message):
            metabench.run("chance", home=str(tmp_path), **words)
    frame = metabench.run("chance", shots=np.array([1, 2]), episodes=np.int64(5), home=str(tmp_path))
    assert len(frame) == 2 and {"run", "predict", "load_results"} <= set(dir(metabench))


def test_the_same_training_gives_the_same_file(tmp_path: Path, whole: Path) -> None:
    assert main(arguments(tmp_path)) == 0
    (one,), (two,) = ((home / "models").glob("*/weights.safetensors") for home in (tmp_path, whole))
    assert one.read_bytes() == two.read_bytes()
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json"))
    assert record["training"]["seconds"] > 0


def test_a_validation_that_the_classifier_cannot_have_is_refused_before_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = {**SETTINGS, "train.validation_way": 4}
    assert main(arguments(tmp_path, algo="maml", settings=settings)) == 2
    err = capsys.readouterr().err
    assert "is built for 5-way tasks and cannot learn from 4-way ones" in err and err.count("\n") == 1
    assert not list(tmp_path.glob("models/*"))


def test_a_damaged_state_is_reported_and_training_starts_over(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_SAVE_SECONDS", -1.0)
        breaking(patch, episode=5)
        assert main(arguments(tmp_path)) == 1
    (state,) = (tmp_path / "models").glob("*/state.safetensors")
    state.write_bytes(state.read_bytes()[:50])
    capsys.readouterr()
    (row,) = run_json(capsys, arguments(tmp_path))
    check_same(tmp_path, row, whole)

    state.write_bytes(b"")
    (tmp_path / "models" / state.parent.name / "weights.safetensors").unlink()
    assert main(arguments(tmp_path, "--rerun")) == 0
    err = capsys.readouterr().err
    assert "state.safetensors is not a readable safetensors checkpoint" in err
    assert err.count("\n") == 1
    assert err.rstrip().endswith("training from the start")


def test_damaged_weights_are_reported_and_trained_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path
) -> None:
    (row,) = run_json(capsys, arguments(tmp_path))
    (path,) = (tmp_path / "models").glob("*/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-8])
    assert main(arguments(tmp_path, "--rerun")) == 0
    err = capsys.readouterr().err
    assert "weights.safetensors is not a readable safetensors checkpoint" in err
    assert err.rstrip().endswith("training again")
    check_same(tmp_path, row, whole)


def test_the_same_training_comes_out_whatever_is_measured_with_it(tmp_path: Path, whole: Path) -> None:
    assert main(arguments(tmp_path, "--ways", "3", "--query", "4")) == 0
    expected, found = weights_of(whole), weights_of(tmp_path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_images_are_embedded_once_for_all_that_share_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []

    def counting(body: Any, images: Tensor, *rest: Any) -> Tensor:
        embedded.append(len(images))
        return embed(body, images, *rest)

    monkeypatch.setattr(executor, "embed", counting)
    first = run_json(capsys, arguments(tmp_path, "--ways", "3,5"))
    assert embedded == [160]  # 8 classes of 20
    (features,) = (tmp_path / "features").glob("*.npy")
    scores = [record_of(tmp_path, row)["scores"] for row in first]
    run_json(capsys, arguments(tmp_path, "--ways", "3,5", "--rerun"))
    assert embedded == [160]
    features.write_bytes(b"damaged")
    second = run_json(capsys, arguments(tmp_path, "--ways", "3,5", "--rerun"))
    assert embedded == [160, 160]
    assert [record_of(tmp_path, row)["scores"] for row in second] == scores


def test_plugins_hear_of_what_was_measured_and_cannot_break_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str]] = []

    def finished(plugins: PluginSet, record: Any, path: str) -> list[str]:
        heard.append((record.status, path))
        return ["plugin 'x' raised"]

    monkeypatch.setattr(PluginSet, "run_finished", finished)
    for _ in range(2):  # the second time there is nothing to tell
        assert main(arguments(tmp_path, algo="chance")) == 0
    assert capsys.readouterr().err == "warning: plugin 'x' raised\n"
    assert heard == [("ok", str(next((tmp_path / "records").glob("*.json"))))]


def test_what_a_record_says_of_the_cost(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    (row,) = run_json(capsys, arguments(whole))
    record = record_of(whole, row)
    cost = record["cost"]
    parts = sum(cost[name] for name in ("training_seconds", "embedding_seconds", "scoring_seconds"))
    assert cost["seconds"] == pytest.approx(parts, abs=0.01)
    assert cost["parameters"] == sum(
        value.numel()
        for name, value in weights_of(whole).items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert record["inputs"]["backbone"]["params"]["channels"] == SETTINGS["backbone.channels"]


def test_a_signal_is_a_request_first_and_an_interrupt_second() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(KeyboardInterrupt), stop_on_signal() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_handler_that_could_not_be_put_back_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "getsignal", lambda number: None)  # set by C code
    with stop_on_signal():
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop_on_signal() as stop:
            seen.append(stop.requested)

    run_in_thread(work)
    assert seen == [False]


def run_in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
