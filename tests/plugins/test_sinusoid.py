"""Regression from end to end: sine waves, K points of one at a time, squared errors, gradient steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metabench.api import DataContext, UsageError
from metabench.cli.main import main
from metabench.data import split_digest
from metabench.episodes.source import EpisodeSource
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.assembly import build_model
from metabench.models.interfaces import decode_numbers, objective
from metabench.registry.registry import load_registry, load_target
from metabench_backbones.mlp import Mlp
from metabench_datasets.sinusoid import AMPLITUDE, PHASE, SPEC, Sinusoid, sine
from metabench_protocols.regression import Regression
from tests.tiny import record_of, run_json

SMALL = {"data.train_functions": 200, "data.val_functions": 20, "data.test_functions": 30, "data.points": 40}


def load(split: str = "test", **sizes: int) -> Any:
    counts = {"train_functions": 20, "val_functions": 20, "test_functions": 30, "points": 40, **sizes}
    return Sinusoid(**counts).load(split, DataContext(Path("unused")))


def points(split: Any) -> np.ndarray:
    return split.images.view("<f4")


def test_the_sine_is_exact_to_rounding() -> None:
    angles = np.linspace(-9, 6, 10_001)
    np.testing.assert_allclose(sine(angles), np.sin(angles), atol=5e-15)


def test_every_function_is_a_sine_wave_in_the_range_of_the_paper() -> None:
    split = load()
    for start, stop in zip(split.starts[:-1], split.starts[1:], strict=True):
        x, y = points(split)[start:stop].T.astype(float)
        assert (x.min() >= -5) and (x.max() < 5)
        design = np.stack([np.sin(x), -np.cos(x)], axis=1)  # A sin(x - p) = A cos(p) sin(x) - A sin(p) cos(x)
        (a, b), *_ = np.linalg.lstsq(design, y, rcond=None)
        np.testing.assert_allclose(design @ [a, b], y, atol=1e-5)
        assert AMPLITUDE[0] <= np.hypot(a, b) <= AMPLITUDE[1]
        assert PHASE[0] - 1e-4 <= np.arctan2(b, a) <= PHASE[1] + 1e-4


def test_functions_and_points_do_not_depend_on_how_many_there_are() -> None:
    small, more = load(), load(test_functions=50, points=60)
    np.testing.assert_array_equal(points(small).reshape(30, 40, 2), points(more).reshape(50, 60, 2)[:30, :40])
    assert not np.array_equal(points(load("val"))[:40], points(small)[:40])
    assert not {*load("val").names} & {*load("test").names}


def test_the_test_split_is_the_declared_one() -> None:
    counts = {param.name: param.default for param in SPEC.params}
    assert split_digest(Sinusoid(**counts).load("test", DataContext(Path("unused")))) == SPEC.digests["test"]


@pytest.mark.parametrize("bad", [{"points": 1}, {"test_functions": 0}, {"train_functions": 10**7}])
def test_silly_sizes_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=rf"data\.{next(iter(bad))} must be in"):
        load(**bad)


def test_an_episode_is_of_distinct_points_of_one_function() -> None:
    split = load()
    batch = EpisodeSource(Regression(5, 10), split, "x").batch(0, 300)
    rows = np.concatenate([batch.support, batch.query], axis=1)
    owner = rows // 40
    assert (owner == owner[:, :1]).all()
    assert set(owner[:, 0]) == set(range(30))
    assert all(len(set(row)) == 15 for row in rows.tolist())
    assert batch.way == 1


def test_a_function_with_too_few_points_is_refused() -> None:
    with pytest.raises(UsageError, match="5 shot \\+ 36 query points are more than the 40"):
        EpisodeSource(Regression(5, 36), load(), "x")
    with pytest.raises(UsageError, match="shot must be at least 1"):
        Regression(0, 5)


def test_the_value_is_the_mean_squared_error() -> None:
    outputs, truth = torch.randn(3, 7, 1), torch.randn(3, 7, 1)
    expected = ((outputs - truth) ** 2).mean((1, 2))
    torch.testing.assert_close(Regression(5, 7).values(outputs, truth), expected)


def test_the_network_reads_the_inputs_and_not_the_answers() -> None:
    items = torch.from_numpy(load().images[:6])
    net = Mlp((8,))
    torch.testing.assert_close(net.inputs(items), decode_numbers(items)[:, :1])
    torch.testing.assert_close(net.targets(items), decode_numbers(items)[:, 1:])
    assert net(net.inputs(items)).shape == (6, 40)
    assert sum(weight.numel() for weight in net.parameters()) == 80 + 1640
    assert torch.isfinite(objective(torch.zeros(6, 1), net.targets(items)))


@pytest.mark.parametrize("name", ["maml", "anil", "meta-sgd", "cavia", "pretrain"])
def test_both_formulations_agree_on_numbers(name: str) -> None:
    spec = load_registry().algorithms[name]
    (recipe,) = spec.recipe("sinusoid", 0, 5)
    params = {key: value for key, value in recipe.params.items() if key in {p.name for p in spec.params}}
    split = load("train")
    batch = EpisodeSource(Regression(5, 5), split, "x").batch(0, 6)
    images = torch.from_numpy(split.images)
    found = []
    for formulation in ("loop", "vmap"):
        model = build_model(Mlp, {}, load_target(spec), params, (8,), 0).double()
        model.backbone.inputs = lambda items: decode_numbers(items)[:, :1].double()
        model.backbone.targets = lambda items: decode_numbers(items)[:, 1:].double()
        learner = AdaptiveLearner(model, formulation=formulation)
        loss = learner.backward(images, batch, recipe, 0)
        slopes = [weight.grad for weight in model.parameters() if weight.grad is not None]
        scores = learner.scores(images, batch)
        found.append([loss, *slopes, scores])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), two.double(), rtol=1e-6, atol=1e-6)


def test_the_floor_predicts_the_mean_of_the_support(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = load("test")
    batch = EpisodeSource(Regression(5, 15), split, "x").batch(0, 40)
    model = build_model(Mlp, {}, load_target(load_registry().algorithms["support-mean"]), {}, (8,), 0)
    found = AdaptiveLearner(model).scores(torch.from_numpy(split.images), batch)
    y = decode_numbers(torch.from_numpy(split.images))[:, 1].numpy()
    expected = np.broadcast_to(y[batch.support].mean(1)[:, None], (40, 15))
    np.testing.assert_allclose(found[..., 0].numpy(), expected, rtol=1e-5, atol=1e-6)
    args = [
        "run",
        "--algo",
        "support-mean",
        "--dataset",
        "sinusoid",
        "--episodes",
        "400",
        "--home",
        str(tmp_path),
        "-q",
    ]
    (row,) = run_json(capsys, args)
    assert (row["metric"], row["seed"], row["setting"]) == ("mse", None, "inductive")
    # Of y = A sin(x - phase), A in [0.1, 5], E[y^2] is 4.25; the mean of five points adds about a fifth.
    assert 3.8 < row["score"] < 5.6


def _words(home: Path, algo: str, *more: str) -> list[str]:
    pairs = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    train = ["--train-episodes", "1500", "--set", "train.validate_every=750", "--set", "train.lr=0.005"]
    few = ["--set", "train.validation_episodes=20", "--episodes", "60", "--quiet", "--home", str(home)]
    return ["run", "--algo", algo, "--dataset", "sinusoid", "--shots", "5", *train, *few, *pairs, *more]


def test_it_works_out_of_the_box_and_meta_learning_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maml, pretrain = run_json(capsys, _words(tmp_path, "maml,pretrain"))
    assert (maml["protocol"], maml["backbone"], maml["metric"]) == ("regression", "mlp", "mse")
    assert (maml["way"], maml["shot"], maml["accuracy"], maml["setting"]) == (None, 5, None, "inductive")
    record = record_of(tmp_path, maml)
    assert record["scores"]["n_query"] == 15
    assert len(record["scores"]["values"]) == 60
    assert set(record["training"]["curve"][0]) == {"episode", "train_loss", "validation_loss", "validation_mse"}
    classes = record["scores"]["classes"]
    assert sum(classes["episodes"]) == 60
    assert sum(classes["totals"]) == pytest.approx(sum(record["scores"]["values"]))
    assert maml["open95"] is not None
    assert maml["score"] < pretrain["score"], "sixty updates are enough to tell them apart"
    capsys.readouterr()
    assert main(["compare", maml["key"][:12], pretrain["key"][:12], "--home", str(tmp_path)]) == 0
    assert "A (mse)" in capsys.readouterr().out
    assert main(["show", maml["key"][:12], "--plot", str(tmp_path / "p.svg"), "--home", str(tmp_path)]) == 0
    assert "mse" in (tmp_path / "p.svg").read_text()
    assert main(["reproduce", maml["key"][:12], "--episodes", "60", "--home", str(tmp_path), "--quiet"]) == 0
    assert "all 60 episodes have the same answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algo", "protonet", "--dataset", "sinusoid"], "protonet predicts labels, and 'sinusoid' asks for numbers"),
        (["--algo", "pretrain", "--dataset", "glyphs", "--backbone", "conv4"], "pretrain predicts numbers, and"),
        (["--algo", "pretrain"], ", or --dataset sinusoid"),
        (["--algo", "maml", "--dataset", "sinusoid", "--backbone", "conv4"], "use --backbone mlp"),
        (["--algo", "maml", "--dataset", "glyphs", "--protocol", "regression"], "is for functions, and the items of"),
        (["--algo", "maml", "--dataset", "glyphs,sinusoid"], "Use one command for each"),
        (["--algo", "maml", "--dataset", "sinusoid", "--protocol", "fixed-way"], "fixed-way' is for"),
        (["--algo", "maml", "--dataset", "sinusoid", "--ways", "20"], "'regression' has no ways. Leave --ways out"),
        (
            ["--algo", "maml", "--dataset", "sinusoid", "--until-ci", "1"],
            "cannot apply --until-ci: it is in points of accuracy",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words, "--home", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


FROZEN = """
import torch
from metabench.api import BackboneSpec, hookimpl
from metabench.api import Backbone, decode_numbers


class Waves(Backbone):
    outputs = 1

    def __init__(self, item_shape):
        super().__init__()
        self.feature_dim = 40

    def inputs(self, items):
        return decode_numbers(items)[:, :1]

    def targets(self, items):
        return decode_numbers(items)[:, 1:]

    def forward(self, x):
        angles = x * torch.linspace(0.1, 2, 20)
        return torch.cat([angles.sin(), angles.cos()], 1)


@hookimpl
def metabench_backbones():
    return [BackboneSpec(name="waves", version=1, target="waves:Waves", summary="Fixed sines.", reference="metabench",
                         licence="CC0-1.0", takes="functions", trains=False)]
"""


def test_a_frozen_backbone_keeps_the_numbers_to_predict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plugin = tmp_path / "waves.py"
    plugin.write_text(FROZEN)
    options = ["--dataset", "sinusoid", "--backbone", "waves", "--plugin", str(plugin), "--shots", "10"]
    options += ["--episodes", "40", "--home", str(tmp_path / "home"), "--device", "cpu"]
    options += [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    errors = [
        run_json(capsys, ["run", "--algo", *words, *options, "--json"])[0]["score"]
        for words in (["support-mean"], ["maml", "--train-episodes", "200"])
    ]
    assert errors[1] < 0.8 * errors[0]  # it learnt from the numbers, and from features that tell them
