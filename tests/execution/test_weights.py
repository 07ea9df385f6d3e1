"""Training that diverges, weights and states that are damaged, and weights that runs share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from metabench.cli.main import main
from metabench.training import trainer
from metabench.training.objectives import EpisodeObjective
from metabench.training.trainer import Trainer
from tests.execution.resuming import check_same, weights_of
from tests.tiny import SETTINGS, arguments, record_of, run_json


def breaking(monkeypatch: pytest.MonkeyPatch, episode: int) -> None:
    """Make the training loss of protonet NaN at one episode."""
    backward = EpisodeObjective.backward

    def broken(objective: EpisodeObjective, position: int) -> tuple[float, int]:
        loss, stop = backward(objective, position)
        return loss * (float("nan") if position == episode else 1.0), stop

    monkeypatch.setattr(EpisodeObjective, "backward", broken)


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
        patch.setattr(trainer, "SAVE_SECONDS", -1.0)
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


def test_a_number_that_changed_on_the_disk_is_noticed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, whole: Path
) -> None:
    (row,) = run_json(capsys, arguments(tmp_path))
    (path,) = (tmp_path / "models").glob("*/weights.safetensors")
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert main(arguments(tmp_path, "--rerun")) == 0
    assert "weights.safetensors is damaged: it is not the file that was written; training" in capsys.readouterr().err
    check_same(tmp_path, row, whole)


def test_the_same_training_comes_out_whatever_is_measured_with_it(tmp_path: Path, whole: Path) -> None:
    assert main(arguments(tmp_path, "--ways", "3", "--query", "4")) == 0
    expected, found = weights_of(whole), weights_of(tmp_path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("content", ["", "soon", "nan", "-1", "inf", "1" + " " * 2**20])
def test_damaged_seconds_of_a_training_are_left_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
) -> None:
    assert main(arguments(tmp_path)) == 0
    (path,) = (tmp_path / "models").glob("*/seconds.txt")
    path.write_text(content)
    (row,) = run_json(capsys, arguments(tmp_path, "--rerun"))
    assert "seconds" not in record_of(tmp_path, row)["training"]
