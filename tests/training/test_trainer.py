"""The training loop: exact resume, selection, early stopping, schedule."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.data import ClassSplit, DataContext
from metabench.episodes.source import EpisodeSource
from metabench.errors import MetabenchError, UsageError
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Model, build_model
from metabench.models.embedding import to_device
from metabench.models.episode import Episode
from metabench.registry.stage import Stage
from metabench.training import trainer
from metabench.training.objectives import EpisodeObjective
from metabench.training.schedule import learning_rate
from metabench.training.trainer import Progress, Trainer
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_datasets.glyphs import Glyphs
from metabench_protocols.fixed_way import FixedWay

RECIPE = Stage(
    way=5, shot=1, query=2, episodes=7, lr=0.01, lr_step=3, validate_every=3, validation_episodes=6, validation_way=4
)
CPU = torch.device("cpu")
Report = Callable[[Progress, float], None]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClassSplit]:
    context = DataContext(cache=tmp_path_factory.mktemp("glyphs"))
    data = Glyphs(train_classes=10, val_classes=6, test_classes=6)
    return {name: data.load(name, context) for name in ("train", "val")}


class Doubled(ProtoNet):
    """Twice the loss and an offset, of an episode with its neighbours."""

    def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
        return 2 * super().loss(episode, query_labels) + len(episode.query)


def make(
    splits: dict[str, ClassSplit], state: Path, recipe: Stage = RECIPE, seed: int = 0, head: type[ProtoNet] = ProtoNet
) -> Trainer:
    model = build_model(Conv4, {"channels": 4}, head, {}, (1, 28, 28), seed)
    assert isinstance(model, Model)
    images = {name: to_device(split.images, CPU) for name, split in splits.items()}
    train = EpisodeSource(FixedWay(recipe.way, recipe.shot, recipe.query), splits["train"], ["train", seed])
    val = EpisodeSource(FixedWay(recipe.validation_way, recipe.shot, recipe.query), splits["val"], ["val", seed])
    validation = (images["val"], val) if recipe.train_on == "train" else None
    learner = FeatureLearner(model)
    return Trainer(EpisodeObjective(learner, recipe, images["train"], train), recipe, learner, validation, state)


def quiet(progress: Progress, loss: float) -> None:
    pass


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 6])
@pytest.mark.parametrize("how", ["crash", "signal"])
def test_killed_anywhere_and_resumed_ends_the_same(
    splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int, how: str
) -> None:
    whole = make(splits, tmp_path / "whole")
    expected = whole.run(0, quiet)

    def stop(progress: Progress, loss: float) -> None:
        if progress.position == killed_after:
            if how == "crash":
                raise RuntimeError("killed")
            os.kill(os.getpid(), signal.SIGTERM)

    if how == "crash":
        monkeypatch.setattr(trainer, "SAVE_SECONDS", -1.0)  # save after every step; the crash comes before
    with pytest.raises(RuntimeError if how == "crash" else KeyboardInterrupt):
        make(splits, tmp_path / "cut").run(0, stop)
    assert (tmp_path / "cut").exists() == (how == "signal" or killed_after > 1)
    seen: list[int] = []
    resumed = make(splits, tmp_path / "cut")
    happened = resumed.run(0, lambda progress, loss: seen.append(progress.position))
    # A signal loses nothing; a crash loses the step it hit.
    assert seen[0] == (killed_after + 1 if how == "signal" else killed_after)
    assert same(whole.model, resumed.model)
    assert happened.curve == expected.curve
    assert happened.best_position == expected.best_position


def test_a_finished_training_is_not_continued(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    first = make(splits, tmp_path / "state")
    first.run(0, quiet)
    again = make(splits, tmp_path / "state", seed=5)  # other initial weights: all must come from the file
    seen: list[int] = []
    again.run(0, lambda progress, loss: seen.append(progress.position))
    assert seen == []
    assert same(first.model, again.model)


def test_the_best_weights_by_validation_are_kept(
    splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(splits, tmp_path / "state")
    losses = iter([2.0, 1.0, 3.0])
    weights: list[dict[str, torch.Tensor]] = []

    def scores() -> tuple[float, float]:
        weights.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
        return next(losses), 50.0

    monkeypatch.setattr(trainer, "validation_scores", scores)
    progress = trainer.run(0, quiet)
    assert [point["episode"] for point in progress.curve] == [3, 6, 7]
    assert (progress.best_position, progress.best_loss) == (6, 1.0)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, weights[1][name])
    assert not torch.equal(weights[1]["backbone.blocks.0.conv.weight"], weights[2]["backbone.blocks.0.conv.weight"])


def test_without_validation_the_last_weights_are_kept(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, train_on="train+val")
    weights: list[torch.Tensor] = []
    trainer = make(splits, tmp_path / "state", recipe)
    name = "blocks.0.conv.weight"
    progress = trainer.run(0, lambda *_: weights.append(trainer.model.backbone.state_dict()[name].clone()))
    assert (progress.best_position, progress.best_loss) == (7, None)
    assert [sorted(point) for point in progress.curve] == [["episode", "train_loss"]] * 3
    assert torch.equal(trainer.model.backbone.state_dict()[name], weights[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_on": "test"}, "train.train_on must be one of train, train\\+val, not 'test'"),
        ({"train_on": "train+val", "patience": 2}, "train.patience needs a validation split"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(
    splits: dict[str, ClassSplit], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make(splits, tmp_path / "state", dataclasses.replace(RECIPE, **change))


def test_patience_stops_early(splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(RECIPE, episodes=50, validate_every=2, patience=2)
    trainer = make(splits, tmp_path / "state", recipe)
    losses = iter([1.0, 0.5, 0.6, 0.7, 0.1])
    monkeypatch.setattr(trainer, "validation_scores", lambda: (next(losses), 50.0))
    progress = trainer.run(0, quiet)
    assert (progress.position, progress.best_position) == (8, 4)


def test_the_learning_rate_follows_the_schedule(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    trainer = make(splits, tmp_path / "state")
    rates: list[float] = []
    trainer.run(0, lambda progress, loss: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([0.01] * 3 + [0.005] * 3 + [0.0025])


def test_training_learns(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, episodes=60, lr_step=0, validate_every=60)
    trainer = make(splits, tmp_path / "state", recipe)
    before = trainer.validation_scores()[0]
    trainer.run(0, quiet)
    assert trainer.validation_scores()[0] < 0.8 * before


def test_a_loss_that_is_no_number_names_the_episode(
    splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(splits, tmp_path / "state")
    backward = trainer.objective.backward

    def broken(position: int) -> tuple[float, int]:
        loss, stop = backward(position)
        return loss * (float("nan") if position == 2 else 1.0), stop

    monkeypatch.setattr(trainer.objective, "backward", broken)
    with pytest.raises(MetabenchError, match="nan at episode 2"):
        trainer.run(0, quiet)


def test_weights_that_are_no_numbers_in_the_end_are_not_kept(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, episodes=1, lr=1e38, train_on="train+val", optimizer="sgd", weight_decay=100.0)
    trainer = make(splits, tmp_path / "state", recipe)
    with pytest.raises(MetabenchError, match=r"a weight is not a number at episode 1; try a lower --set train\.lr"):
        trainer.run(0, quiet)
    assert not trainer.best


def test_the_validation_loss_is_that_of_the_algorithm(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    plain, own = (make(splits, tmp_path / "state", head=head).validation_scores() for head in (ProtoNet, Doubled))
    assert own[0] == pytest.approx(2 * plain[0] + 1, rel=1e-6)
    assert own[1] == plain[1]


@pytest.mark.parametrize("head", [ProtoNet, Doubled])
def test_the_validation_loss_does_not_depend_on_chunks(
    splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: type[ProtoNet]
) -> None:
    found = set()
    for chunk in (1, 2, 4, 6):
        monkeypatch.setattr(FeatureLearner, "chunk_size", lambda *_, chunk=chunk: chunk)
        recipe = dataclasses.replace(RECIPE, validation_episodes=60)
        found.add(make(splits, tmp_path / str(chunk), recipe, head=head).validation_scores())
    assert len(found) == 1


def test_an_unknown_optimizer_is_named(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.optimizer must be one of adam, adamw, sgd, not 'lion'"):
        make(splits, tmp_path / "state", dataclasses.replace(RECIPE, optimizer="lion"))


def test_the_random_state_of_torch_is_left_alone(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    before = torch.get_rng_state()
    make(splits, tmp_path / "state").run(3, quiet)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", [1.0, 1.0, 0.5, 0.5, 0.25]),
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", [1.0, 0.853553, 0.5, 0.146447, 0.0]),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    end = 0.2 if schedule == "linear" else 0.0
    recipe = dataclasses.replace(RECIPE, lr=1.0, lr_end=end, lr_step=4, episodes=8, schedule=schedule)
    assert [learning_rate(recipe, episode) for episode in range(0, 9, 2)] == pytest.approx(expected, abs=1e-6)


def test_an_unknown_schedule_is_named(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.schedule must be one of step, cosine, linear, not 'square'"):
        make(splits, tmp_path / "state", dataclasses.replace(RECIPE, schedule="square"))


@pytest.mark.parametrize(("field", "norm"), [("clip", torch.inf), ("clip_norm", 2.0)])
def test_gradients_are_clipped(splits: dict[str, ClassSplit], tmp_path: Path, field: str, norm: float) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", lr=1.0, **{field: 1e-3})
    trainer = make(splits, tmp_path / "state", recipe)
    before = [value.detach().clone() for value in trainer.model.parameters()]
    trainer._step()
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, trainer.model.parameters(), strict=True)])
    assert float(moved.detach().norm(norm)) == pytest.approx(1e-3, rel=1e-2)


def test_an_update_may_take_several_episodes(splits: dict[str, ClassSplit], tmp_path: Path) -> None:
    """One head of features sees the episodes of a batch together; the last batch is what is left."""
    trainer = make(splits, tmp_path / "state", dataclasses.replace(RECIPE, batch=3, validate_every=2))
    seen: list[int] = []
    progress = trainer.run(0, lambda progress, loss: seen.append(progress.position))
    assert seen == [3, 6, 7]
    assert [point["episode"] for point in progress.curve] == [3, 6, 7]
