"""Runs of algorithms that adapt to each task: records, resume, settings."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from metabench.cli.main import main
from metabench.learners import factory
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.thread_pool import sharing_copy
from metabench.models.adaptive import TaskAdaptiveAlgorithm, gradient_step
from metabench.models.assembly import build_model
from metabench.models.checkpoints import load_tensors
from metabench.models.interfaces import Backbone
from metabench.models.task_context import TaskContext, task_context
from metabench.registry.registry import load_target
from metabench.training.trainer import Trainer
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_backbones.conv4_strided import Conv4Strided, Conv4StridedFlat
from tests.conftest import SetThreads
from tests.tiny import arguments, record_of, run_json

SMALL = {"train.query": 2, "train.batch": 2, "train.validation_way": 5, "train.validation_query": 2}


def args(home: Path, *more: str, algo: str = "maml", **settings: Any) -> list[str]:
    words = arguments(home, *more, algo=algo, settings={**SMALL, **settings})
    words[words.index("--episodes") + 1] = "30"
    return words


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    assert main(args(home)) == 0
    return home


def test_a_record_of_maml(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    (row,) = run_json(capsys, args(whole))
    assert row["cached"] and row["setting"] == "transductive" and "bn=transductive" in row["params"]
    record = record_of(whole, row)
    assert record["inputs"]["algorithm"]["params"]["lr"] == 0.4
    assert record["inputs"]["training"]["batch"] == 2
    assert [point["episode"] for point in record["training"]["curve"]] == [4, 6, 8]
    assert record["cost"]["parameters"] > 0 and record["cost"]["embedding_seconds"] < 1
    assert len(record["scores"]["correct"]) == 30
    assert not (whole / "features").exists() or not list((whole / "features").glob("*"))


def test_the_episodes_are_those_of_every_other_algorithm(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    (row,) = run_json(capsys, args(whole))
    words = arguments(whole, algo="chance")
    words[words.index("--episodes") + 1] = "30"
    (chance,) = run_json(capsys, words)
    digests = [record_of(whole, item)["scores"]["episodes_digest"] for item in (row, chance)]
    assert digests[0] == digests[1]


def test_normalising_by_the_support_makes_another_inductive_row(
    capsys: pytest.CaptureFixture[str], whole: Path
) -> None:
    weights = next((whole / "models").glob("*/weights.safetensors"))
    words = ["--checkpoint", str(weights)]
    together, apart = (
        run_json(capsys, args(whole, *words, **{"algo.bn": bn}))[0] for bn in ("transductive", "support")
    )
    assert (together["setting"], apart["setting"]) == ("transductive", "inductive")
    assert together["key"] != apart["key"]
    (trained,) = run_json(capsys, args(whole))
    scores = [record_of(whole, item)["scores"]["correct"] for item in (trained, together, apart)]
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize("algo", ["maml", "reptile"])
@pytest.mark.parametrize("threads", [1, 3])
def test_stopped_and_resumed_on_any_number_of_cores_it_ends_the_same(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    set_threads: SetThreads,
    algo: str,
    threads: int,
) -> None:
    few = {"algo.test_steps": 3}  # Reptile's 20 would take nine tenths of the time
    assert main(args(tmp_path / "whole", algo=algo, **few)) == 0
    step = Trainer._step

    def stopping(trainer: Trainer) -> float:
        loss = step(trainer)
        if trainer.progress.position == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        assert main(args(tmp_path / "cut", algo=algo, **few)) == 130
    set_threads(threads)
    homes = (tmp_path / "whole", tmp_path / "cut")
    rows = [run_json(capsys, args(home, algo=algo, **few))[0] for home in homes]
    assert rows[0]["key"] == rows[1]["key"]
    first, second = (record_of(home, row) for home, row in zip(homes, rows, strict=True))
    assert first["scores"] == second["scores"] and first["training"]["curve"] == second["training"]["curve"]
    mine, theirs = (load_tensors(next((home / "models").glob("*/weights.safetensors")))[0] for home in homes)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_network_that_draws_random_numbers_learns_the_same_on_any_number_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_threads: SetThreads
) -> None:
    class Dropping(Conv4Strided):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().forward(images), 0.5, self.training)

    def target(spec: Any) -> Any:
        return Dropping if spec.name == "conv4-strided" else load_target(spec)

    monkeypatch.setattr(factory, "load_target", target)
    weights = []
    for threads in (1, 3):
        set_threads(threads)
        home = tmp_path / str(threads)
        assert main(args(home, **{"train.batch": 8, "train.episodes": 40})) == 0
        weights.append(load_tensors(next((home / "models").glob("*/weights.safetensors")))[0])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_learning_rate_that_diverges_is_a_failed_run_with_its_episode(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = args(tmp_path, **{"train.lr": 1e20, "train.episodes": 20, "train.optimizer": "sgd"})
    (row,) = run_json(capsys, words, code=1)
    assert row["status"] == "failed"
    message = record_of(tmp_path, row)["error"]["message"]
    assert message.startswith("the training loss is nan at episode ") or message.startswith(
        "the validation loss is nan"
    )


def test_an_inner_rate_that_diverges_names_the_test_episode(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    weights = next((whole / "models").glob("*/weights.safetensors"))
    settings = {"algo.test_lr": 1e30, "algo.test_steps": 3}
    (row,) = run_json(capsys, args(whole, "--checkpoint", str(weights), **settings), code=1)
    message = "algorithm 'maml' returned numbers that are not finite (nan or infinite), first for episode 0"
    assert record_of(whole, row)["error"]["message"] == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"algo.steps": 0}, "error: algo.steps must be at least 1, not 0"),
        (
            {"train.way": 4},
            "error: maml on backbone 'conv4-strided' is built for 5-way tasks and cannot learn from 4-way",
        ),
        ({"train.batch": 0}, "error: --set train.batch must be a number of at least 1"),
        ({"train.schedule": "square"}, "error: train.schedule must be one of step, cosine, linear, not 'square'"),
        ({"algo.bn": "batch"}, "error: parameter 'bn' of algorithm 'maml' is one of transductive, support, single"),
    ],
)
def test_bad_settings_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    capsys.readouterr()
    assert main(args(tmp_path, **settings)) == 2
    err = capsys.readouterr().err
    assert err.startswith(message) and err.count("\n") == 1


def test_the_memory_is_told_before_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [word for word in args(tmp_path) if word != "--quiet"]
    assert main([*words, "--max-memory", "8GB"]) == 0
    assert "maml on glyphs, 5-way 1-shot: training takes about " in capsys.readouterr().err
    assert main([*args(tmp_path, **{"train.lr": 0.1}), "--max-memory", "1MB"]) == 2
    assert "and may take 1 MB: allow more (--max-memory)" in capsys.readouterr().err


def test_half_precision_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (row,) = run_json(capsys, args(tmp_path, "--precision", "bfloat16"))
    assert (row["status"], row["precision"]) == ("ok", "bfloat16")


def test_a_processor_that_emulates_half_precision_is_told_of_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: False)
    words = ["run", "--algo", "chance,nearest-mean", "--backbone", "pixels", "--episodes", "2", "--home", str(tmp_path)]
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*words, "--quiet", "--precision", "bfloat16"]) == 0
    assert capsys.readouterr().err == (
        "warning: this processor has no arithmetic in bfloat16 and takes many times as long as in float32\n"
    )


@pytest.mark.parametrize("kind", [Conv4, Conv4Strided, Conv4StridedFlat])
def test_half_precision_is_that_of_the_backbone_alone(kind: type[Conv4]) -> None:
    """Scores of eight bits would tie, and steps of eight bits would not add up; both derivatives come out."""
    torch.manual_seed(0)
    algorithm = Maml(kind((1, 28, 28), channels=32), 5, lr=0.1, steps=2)
    support, query, labels = torch.rand(10, 1, 28, 28), torch.rand(40, 1, 28, 28), torch.arange(5).repeat(8)
    weights, slopes = list(algorithm.parameters()), []
    for precision in ("float32", "bfloat16"):
        with task_context(TaskContext(precision=precision)):
            adapted = algorithm.adapt(algorithm.start(), support, labels[:10])
            scores = algorithm.predict(adapted, support, labels[:10], query)
        assert scores.dtype == torch.float32
        assert not torch.equal(scores, scores.bfloat16().float())
        found = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, labels), weights)
        slopes.append(torch.cat([slope.flatten() for slope in found]))
    assert float(torch.cosine_similarity(*slopes, dim=0)) > 0.6  # a second derivative of noise is rough in eight bits
    assert not torch.equal(*slopes)


class Tied(Backbone):
    """One weight in two layers, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 4
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("shift", torch.zeros(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(self.first(images)) + self.get_buffer("shift")
        return found


def test_weights_in_their_places_are_those_of_a_functional_call() -> None:
    algorithm = Maml(Tied(), 2)
    names = ["first.weight", "first.bias", "second.bias", "shift"]
    given = {name: torch.randn_like(algorithm.backbone.state_dict()[name]) for name in names}
    images, before = torch.rand(3, 4), {**algorithm.backbone.state_dict()}
    wanted = torch.func.functional_call(algorithm.backbone, given, (images,))
    for copy in (lambda: algorithm, lambda: sharing_copy(algorithm)):  # of one that knows the places already
        found = copy().features({f"backbone.{name}": value for name, value in given.items()}, images)
        torch.testing.assert_close(found, wanted)
    assert sharing_copy(algorithm).backbone.second.weight is algorithm.backbone.first.weight
    with pytest.raises(RuntimeError, match="size"):
        algorithm.features({"backbone.first.bias": torch.zeros(7)}, images)
    for name, value in algorithm.backbone.state_dict().items():
        assert value.data_ptr() == before[name].data_ptr()


def test_a_step_of_descent_is_the_same_for_every_kind_of_rate() -> None:
    params = {name: torch.randn(3, requires_grad=True) for name in "abc"}
    slopes = {name: torch.randn(3) for name in "ab"}
    wanted = {name: value - 0.3 * slopes[name] if name in slopes else value for name, value in params.items()}
    for rate in (0.3, torch.tensor(0.3)):
        found = gradient_step(params, slopes, rate)
        assert list(found) == list(params)
        assert all(torch.equal(found[name], wanted[name]) for name in params)
        (by_a,) = torch.autograd.grad(found["a"].sum(), params["a"])
        assert torch.equal(by_a, torch.ones(3))
    assert gradient_step(params, {}, 0.3) == params


def test_a_class_of_the_other_kind_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Head(ProtoNet):
        def __init__(self, feature_dim: int, **params: Any) -> None:
            super().__init__(feature_dim)

    monkeypatch.setattr(factory, "load_target", lambda spec: Head if spec.name == "maml" else load_target(spec))
    capsys.readouterr()
    assert main(args(tmp_path, **{"algo.steps": 1})) == 2
    assert "algorithm 'maml' takes images, so its class must be a TaskAdaptiveAlgorithm" in capsys.readouterr().err


def test_a_learner_on_a_cpu_has_a_worker_for_each_thread(set_threads: SetThreads) -> None:
    set_threads(3)
    model = build_model(Conv4Strided, {"channels": 4}, Maml, {}, (1, 16, 16), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    learner = AdaptiveLearner(model)
    assert (learner.at_once, learner.batched, learner.group) == (3, False, 1)
