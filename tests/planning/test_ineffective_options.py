"""What is asked for has an effect or is refused: every option of ``run``, whatever learns or is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from safetensors.torch import save_file

import metabench
from metabench.cli.main import LazyGroup, main
from metabench.errors import UsageError
from metabench.planning.run_spec import Planned, run_of
from metabench.python_api import RUN_ARGUMENTS
from metabench.utils.hashing import file_sha256
from tests.tiny import arguments, record_of, run_json

HOW = {
    "device", "max_memory", "home", "data", "rerun", "no_download", "dry_run", "as_json", "as_markdown", "csv_file",
    "quiet", "plot", "verbose", "plugin", "help",
}  # fmt: skip
"""Options that change how the work is done, or what is shown: never a run."""
CHANGES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "algo": (("--algo", "linear-probe"),),
    "suite": (("--suite", "quick"),),
    "dataset": (("--dataset", "omniglot"), ("--dataset", "sinusoid")),
    "train_dataset": (("--train-dataset", "omniglot"),),
    "backbone": (("--backbone", "resnet12"), ("--backbone", "minilm")),
    "ways": (("--ways", "3"),),
    "shots": (("--shots", "2"),),
    "query": (("--query", "4"),),
    "episodes": (("--episodes", "7"),),
    "protocol": (("--protocol", "k-query"), ("--protocol", "meta-dataset")),
    "seeds": (("--seed", "3"), ("--seed", "0,1")),
    "episode_seed": (("--episode-seed", "9"),),
    "train_episodes": (("--train-episodes", "11"),),
    "until_ci": (("--until-ci", "2"),),
    "bound": (("--bound", "bernstein"),),
    "precision": (("--precision", "bfloat16"),),
    "sampling": (("--sampling", "open"),),
    "checkpoint": (("--checkpoint", "WEIGHTS"),),
    "settings": tuple(
        ("--set", text)
        for text in (
            "train.lr=0.5", "train.way=4", "train.patience=3", "train.augment=crop-flip", "algo.test_steps=2",
            "algo.c=2.0", "backbone.channels=8", "backbone.weights=WEIGHTS", "backbone.trained_on=x",
            "data.train_classes=13", "data.path=x", "protocol.alpha=2",
        )
    ),
    "skip_bad": (("--skip-bad",),),
}  # fmt: skip
"""Option of the command to arguments that are not its default."""
BASES: Mapping[str, tuple[str, ...]] = {
    "trains": ("--algo", "protonet"),
    "adapts": ("--algo", "maml"),
    "weights of its own": ("--algo", "matching-net"),
    "learns nothing": ("--algo", "nearest-mean"),
    "learns nothing, on a network": ("--algo", "linear-probe", "--backbone", "conv4"),
    "nothing to learn": ("--algo", "protonet", "--backbone", "pixels"),
    "both": ("--algo", "protonet,chance"),
    "numbers": ("--algo", "maml", "--dataset", "sinusoid"),
    "text": ("--algo", "nearest-mean", "--dataset", "banking77"),
    "episodes that differ": ("--algo", "nearest-mean", "--protocol", "meta-dataset"),
    "trained, on episodes that differ": ("--algo", "protonet", "--protocol", "meta-dataset"),
    "from a checkpoint": ("--algo", "protonet", "--checkpoint", "WEIGHTS"),
    "a network from a checkpoint": ("--algo", "nearest-mean", "--backbone", "conv4", "--checkpoint", "WEIGHTS"),
    "a suite": ("--algo", "protonet,nearest-mean", "--suite", "quick"),
    "a suite of floors": ("--algo", "chance", "--suite", "quick"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file({"backbone.a": torch.ones(2)}, path)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


Planner = Callable[..., list[str]]


@pytest.fixture
def planned(home: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Planner:
    """Return what identifies each run that a command would make, or the line of its refusal."""
    runs: list[Planned] = []
    monkeypatch.setattr("metabench.cli.run.forecast_runs", lambda planned, session: runs.extend(planned) or ())

    def plan(*words: str) -> list[str]:
        runs.clear()
        filled = [word.replace("WEIGHTS", str(weights)) for word in words]
        code = main(["run", *filled, "--home", str(home), "--quiet", "--dry-run"])
        err = capsys.readouterr().err
        if runs:
            return [run_of(each).identity + str(getattr(each, "error", "")) for each in runs]
        assert (code, err[:7], err.count("\n")) == (2, "error: ", 1)
        return [err]

    return plan


def test_every_option_of_run_is_known_here() -> None:
    """A new option is entered above: with values that change a run, or among those that never do."""
    command = LazyGroup().get_command(click.Context(click.Group()), "run")
    names = {param.name for param in command.params}
    assert names == set(CHANGES) | (HOW & names)
    assert not set(CHANGES) & HOW


@pytest.mark.parametrize("base", BASES)
def test_an_option_changes_a_run_or_is_refused(base: str, planned: Planner) -> None:
    before = planned(*BASES[base])
    assert "error" not in before[0]
    silent = [
        change
        for name, changes in CHANGES.items()
        for change in changes
        if change[0] not in BASES[base] and planned(*BASES[base], *change) == before
    ]
    assert not silent


def test_options_of_how_change_no_run(planned: Planner, tmp_path: Path) -> None:
    words = [
        "--device",
        "cpu",
        "--max-memory",
        "4GB",
        "--data",
        str(tmp_path),
        "--rerun",
        "--no-download",
        "--markdown",
    ]
    assert planned("--algo", "protonet", *words, "-v") == planned("--algo", "protonet")


REFUSED = (
    (["--algo", "chance", "--set", "train.lr=0.1"], "cannot apply --set train.lr: nothing is trained by chance"),
    (["--algo", "chance", "--train-episodes", "9"], "cannot apply --set train.episodes (--train-episodes)"),
    (["--algo", "chance,nearest-mean", "--seed", "1"], "cannot apply --seed"),
    (["--algo", "protonet", "--backbone", "pixels", "--train-dataset", "omniglot"], "cannot apply --train-dataset"),
    (["--algo", "protonet", "--checkpoint", "WEIGHTS", "--seed", "1"], "with --checkpoint nothing is trained"),
    (["--algo", "nearest-mean", "--checkpoint", "WEIGHTS"], "backbone 'pixels' has no weights"),
    (["--algo", "protonet", "--checkpoint", "WEIGHTS", "--set", "backbone.weights=WEIGHTS"], "Give one of them"),
    (["--algo", "chance", "--suite", "quick", "--set", "train.lr=0.1"], "cannot apply --set train.lr"),
    (["--algo", "nearest-mean", "--protocol", "meta-dataset", "--ways", "3"], "has its own ways. Leave --ways out"),
    (["--algo", "protonet", "--backbone", "timm:resnet18", "--set", "backbone.model=resnet50"],
     "cannot set backbone.model: timm:resnet18 settles it"),
    (["--algo", "rfs", "--set", "distill.lr=0.1"],
     "cannot apply --set distill.lr: no run does stage 'distill', as it is repeated 0 times"),
    (["--algo", "meta-baseline", "--backbone", "pixels", "--set", "pretrain.lr=0.1"],
     "cannot apply --set pretrain.lr: no run does stage 'pretrain'"),
    (["--algo", "simpleshot", "--set", "pretrain.repeat=0"], "no stage of simpleshot is done on backbone 'conv4'"),
    (["--algo", "chance", "--dry-run", "--plot", "x.svg"], "--plot and --dry-run exclude each other"),
)  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_changes_nothing_is_refused(words: list[str], message: str, planned: Planner) -> None:
    (line,) = planned(*words)
    assert message in line


@pytest.mark.parametrize(
    "words",
    [
        ["--algo", "protonet,chance", "--train-episodes", "9", "--seed", "0,1", "--set", "train.lr=0.1"],
        ["--algo", "protonet,chance", "--checkpoint", "WEIGHTS"],
        ["--algo", "chance", "--seed", "0"],
        ["--algo", "rfs", "--set", "distill.repeat=1", "--set", "distill.lr=0.1"],
        ["--algo", "meta-baseline", "--set", "pretrain.repeat=0"],
        ["--algo", "protonet,chance", "--set", "backbone.weights=WEIGHTS"],
        ["--algo", "protonet,chance", "--suite", "quick", "--set", "train.lr=0.1", "--seed", "4"],
    ],
)
def test_what_changes_one_of_several_is_taken(words: list[str], planned: Planner) -> None:
    assert "error" not in planned(*words)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"train.lr": 0.1}}, "cannot apply --set train.lr"),
        ({"seeds": 3}, "cannot apply --seed"),
        ({"suite": "quick", "seeds": [1, 2]}, "cannot apply --seed"),
    ],
)
def test_python_refuses_the_same(home: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        metabench.run("chance", home=str(home), **options)


def test_a_checkpoint_is_that_of_the_backbone_where_nothing_is_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nearest mean on the weights of a ProtoNet is that ProtoNet, and its record says which weights those are."""
    (learned,) = run_json(capsys, arguments(tmp_path))
    (weights,) = tmp_path.glob("models/*/weights.safetensors")
    words = ["--backbone", "conv4", "--set", "backbone.channels=4"]
    (start,) = run_json(capsys, arguments(tmp_path, *words, algo="nearest-mean"))
    (row,) = run_json(capsys, arguments(tmp_path, *words, "--checkpoint", str(weights), algo="nearest-mean"))
    pair = ["--set", f"backbone.weights={weights}"]
    (same,) = run_json(capsys, arguments(tmp_path, *words, *pair, algo="nearest-mean"))
    record = record_of(tmp_path, row)
    assert record["scores"]["correct"] == record_of(tmp_path, learned)["scores"]["correct"]
    assert record["inputs"]["backbone"]["weights_sha256"] == file_sha256(weights)
    assert row["key"] == same["key"] != start["key"]
    weights.write_bytes(weights.read_bytes()[:100])
    assert main(arguments(tmp_path, *words, "--checkpoint", str(weights), algo="nearest-mean")) == 1


def test_weights_for_a_backbone_without_any_are_refused(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--set", f"backbone.weights={weights}"]
    assert main(arguments(tmp_path, "--backbone", "pixels", *pair, algo="nearest-mean")) == 2
    assert "backbone Pixels has none. Leave out backbone.weights" in capsys.readouterr().err


PYTHON_HOW = {"home", "data", "device", "rerun", "quiet", "plugins"}
PYTHON_CHANGES: Mapping[str, Any] = {
    "algo": "linear-probe",
    "shots": 2,
    "ways": [3],
    "dataset": "omniglot",
    "backbone": "resnet12",
    "seeds": [0, 3],
    "suite": "quick",
    "query": 4,
    "protocol": "meta-dataset",
    "episodes": 7,
    "episode_seed": 9,
    "sampling": "open",
    "until_ci": 2,
    "bound": "bernstein",
    "precision": "bfloat16",
    "checkpoint": "WEIGHTS",
    "settings": {"train.lr": 0.5},
    "split": "val",
    "train_dataset": "omniglot",
}


def test_every_argument_of_python_is_known_here() -> None:
    assert set(RUN_ARGUMENTS) == set(PYTHON_CHANGES) | PYTHON_HOW


@pytest.mark.parametrize(
    "base",
    [
        {"algo": "protonet"},
        {"algo": "chance"},
        {"algo": ["maml", "chance"]},
        {"algo": "maml", "dataset": "sinusoid"},
        {"algo": "nearest-mean", "backbone": "conv4", "checkpoint": "WEIGHTS"},
        {"algo": "chance", "suite": "quick"},
    ],
)
def test_an_argument_changes_a_run_or_is_refused(
    base: dict[str, Any], home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Planned] = []

    def capture(planned: list[Planned], session: Any) -> list[Any]:
        runs.extend(planned)
        return []

    monkeypatch.setattr("metabench.execution.launcher.launch", capture)
    monkeypatch.setattr("metabench.python_api.attempt_suite", lambda suite, planned, session: capture(planned, session))

    def made(**options: Any) -> list[str]:
        runs.clear()
        filled = {name: str(weights) if value == "WEIGHTS" else value for name, value in options.items()}
        try:
            metabench.run(home=str(home), **filled)
        except UsageError as error:
            return [str(error)]
        return [run_of(each).identity + str(getattr(each, "error", "")) for each in runs]

    before = made(**base)
    changes = {name: value for name, value in PYTHON_CHANGES.items() if name not in base}
    assert not [name for name, value in changes.items() if made(**{**base, name: value}) == before]
