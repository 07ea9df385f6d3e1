"""Training in several stages: shared, resumed exactly in any of them, and evaluated with the right weights."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from metabench.cli.main import main
from metabench.models.checkpoints import load_tensors
from metabench.training import trainer as training
from metabench.training.objectives import ClassObjective, EpisodeObjective
from metabench.training.trainer import Trainer
from tests.tiny import SETTINGS, record_of, run_json

Capture = pytest.CaptureFixture[str]
PRETRAIN = {"pretrain.epochs": 2, "pretrain.validate_every": 1, "pretrain.validation_episodes": 6}
DATA = {name: value for name, value in SETTINGS.items() if not name.startswith("train.")}
TRAIN = {"train.episodes": 12, "train.validate_every": 4, "train.validation_episodes": 6, "train.query": 3}


def arguments(home: Path, algo: str, *more: str, **settings: Any) -> list[str]:
    pairs = [word for name, value in {**DATA, **PRETRAIN, **settings}.items() for word in ("--set", f"{name}={value}")]
    return ["run", "--algo", algo, "--episodes", "60", "--home", str(home), "--quiet", *pairs, *more]


def updates(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the updates of each objective."""
    counts = {"classes": 0, "episodes": 0}
    for name, kind in (("classes", ClassObjective), ("episodes", EpisodeObjective)):
        backward = kind.backward

        def counted(self: Any, position: int, name: str = name, backward: Any = backward) -> tuple[float, int]:
            counts[name] += 1
            result: tuple[float, int] = backward(self, position)
            return result

        monkeypatch.setattr(kind, "backward", counted)
    return counts


def test_methods_share_a_pre_training(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = updates(monkeypatch)
    run_json(capsys, arguments(tmp_path, "rfs"))
    once = counts["classes"]
    assert once == 2 * (12 * 20 // 64)
    rows = run_json(capsys, arguments(tmp_path, "simpleshot,baseline,rfs", "--shots", "1,5"))
    assert counts == {"classes": once, "episodes": 0} and len(rows) == 6
    rows = run_json(capsys, arguments(tmp_path, "meta-baseline", **TRAIN))
    assert counts == {"classes": once, "episodes": 3}
    record = record_of(tmp_path, rows[0])
    assert [stage["name"] for stage in record["inputs"]["training"]["before"]] == ["pretrain"]
    (before,) = record["training"]["before"]
    assert (before["epoch"], [point["epoch"] for point in before["curve"]]) == (2, [1, 2])
    assert record["training"]["episode"] == 12


@pytest.mark.parametrize(("objective", "killed"), [(ClassObjective, 2), (ClassObjective, 5), (EpisodeObjective, 2)])
@pytest.mark.parametrize("how", ["signal", "crash"])
def test_killed_in_any_stage_and_resumed_it_ends_the_same(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, objective: type, killed: int, how: str
) -> None:
    augmented = {"pretrain.augment": "crop-flip", "pretrain.keeps": "all"}
    args = {**TRAIN, **augmented}
    (whole,) = run_json(capsys, arguments(tmp_path / "whole", "meta-baseline", **args))
    step, calls = Trainer._step, list[int]()

    def stopping(trainer: Trainer) -> float:
        if isinstance(trainer.objective, objective):
            calls.append(trainer.progress.position)
            if len(calls) == killed:
                if how == "crash":
                    raise MemoryError("killed")
                os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        patch.setattr(training, "SAVE_SECONDS", -1.0)
        code = main(arguments(tmp_path / "cut", "meta-baseline", **args))
    assert code == (130 if how == "signal" else 1)
    (row,) = run_json(capsys, arguments(tmp_path / "cut", "meta-baseline", **args))
    here, there = record_of(tmp_path / "cut", row), record_of(tmp_path / "whole", whole)
    assert here["scores"] == there["scores"]
    for record in (here, there):
        for stage in (record["training"], *record["training"]["before"]):
            del stage["seconds"]
    assert here["training"] == there["training"]


def test_what_a_head_studied_is_in_the_weights(tmp_path: Path, capsys: Capture) -> None:
    rows = {name: run_json(capsys, arguments(tmp_path, "simpleshot", **{"algo.transform": name}))[0]
            for name in ("cl2n", "un")}  # fmt: skip
    records = {name: record_of(tmp_path, row) for name, row in rows.items()}
    assert records["cl2n"]["inputs"]["base"] == {"digest": records["cl2n"]["inputs"]["training"]["digests"]["train"]}
    assert "base" not in records["un"]["inputs"]
    means = {}
    for name, record in records.items():
        file = tmp_path / "models" / record["training"]["training_key"] / "weights.safetensors"
        means[name] = load_tensors(file)[0]["head.base_mean"]
    assert not means["un"].any() and means["cl2n"].any()
    file = tmp_path / "models" / records["cl2n"]["training"]["training_key"] / "weights.safetensors"
    data = [word for name, value in DATA.items() for word in ("--set", f"{name}={value}")]
    args = ["run", "--algo", "simpleshot", "--episodes", "60", "--home", str(tmp_path), "--quiet", *data]
    (loaded,) = run_json(capsys, [*args, "--checkpoint", str(file)])
    assert record_of(tmp_path, loaded)["scores"] == records["cl2n"]["scores"]


def test_a_teacher_gets_no_gradient_and_matters(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = []
    init = ClassObjective.__init__

    def spying(self: ClassObjective, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        if self.teacher is not None:
            teachers.append((self.teacher, {k: v.clone() for k, v in self.teacher.state_dict().items()}))

    monkeypatch.setattr(ClassObjective, "__init__", spying)
    scores = []
    for weight in (0.0, 1.0):
        settings = {"distill.repeat": 1, "distill.epochs": 2, "distill.teacher_weight": weight}
        (row,) = run_json(capsys, arguments(tmp_path, "rfs", **settings))
        scores.append(record_of(tmp_path, row)["training"]["curve"][-1]["validation_loss"])
    assert len(teachers) == 2 and scores[0] != scores[1]
    for teacher, before in teachers:
        assert all(parameter.grad is None for parameter in teacher.parameters())
        assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_frozen_backbone_stays_while_the_rest_learns(tmp_path: Path, capsys: Capture) -> None:
    (row,) = run_json(capsys, arguments(tmp_path, "meta-baseline", **{**TRAIN, "train.backbone_lr": 0}))
    record = record_of(tmp_path, row)
    first, last = (
        load_tensors(tmp_path / "models" / stage["training_key"] / "weights.safetensors")[0]
        for stage in (record["training"]["before"][0], record["training"])
    )
    shared = [name for name in last if name.startswith("backbone.")]
    assert shared and all(torch.equal(first[name], last[name]) for name in shared)
    (moved,) = run_json(capsys, arguments(tmp_path, "meta-baseline", **TRAIN))
    assert record_of(tmp_path, moved)["training"]["weights_sha256"] != record["training"]["weights_sha256"]


def test_a_dry_run_shows_the_chain_and_what_is_cached(tmp_path: Path, capsys: Capture) -> None:
    run_json(capsys, arguments(tmp_path, "rfs"))
    assert main([*arguments(tmp_path, "meta-baseline", "--dry-run", **TRAIN)]) == 0
    assert "meta-baseline: pretrain: 2 epochs of classes, cached; train: 12 episodes, to do" in capsys.readouterr().out
    assert main([*arguments(tmp_path, "meta-baseline", "--dry-run", "--json", **TRAIN)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert [stage["state"] for stage in row["stages"]] == ["cached", "to do"]
