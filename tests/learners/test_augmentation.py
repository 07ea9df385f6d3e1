"""Augmentation in training: against Pillow image by image, what is drawn, and resume to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from metabench.data import ClassSplit, DataContext
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners import augmentation
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.augmentation import JITTER, crop_flip, jitter, padding, training_items
from metabench.learners.base import Learner
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import build_model
from metabench.models.embedding import to_device
from metabench.models.interfaces import FeatureHead
from metabench.registry.stage import Stage
from metabench.registry.stage_checks import AUGMENTS, check_stage
from metabench.training import trainer
from metabench.training.objectives import EpisodeObjective
from metabench.training.trainer import Trainer
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_datasets.glyphs import Glyphs
from metabench_protocols.fixed_way import FixedWay

RECIPE = Stage(way=4, shot=1, query=2, episodes=6, validate_every=3, validation_episodes=4, validation_way=4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, side: int = 21, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, side, side, channels), dtype=torch.uint8, generator=seeded(9))


def test_paddings_are_the_published_ones() -> None:
    assert [padding(side) for side in (84, 32, 28)] == [8, 4, 3]


def shifts(images: Tensor, found: Tensor) -> list[tuple[int, int, bool]]:
    """How each image was shifted and mirrored, by trying all there is with Pillow."""
    room, results = padding(images.shape[1]), []
    for before, after in zip(images.numpy(), found.numpy(), strict=True):
        padded = ImageOps.expand(Image.fromarray(before), room)
        side = len(before)
        fits = []
        for top in range(2 * room + 1):
            for left in range(2 * room + 1):
                crop = padded.crop((left, top, left + side, top + side))
                for mirrored in (False, True):
                    if np.array_equal(np.asarray(ImageOps.mirror(crop) if mirrored else crop), after):
                        fits.append((top - room, left - room, mirrored))
        assert len(fits) == 1
        results += fits
    return results


def test_crops_and_flips_are_those_of_pillow_and_all_of_them_come() -> None:
    images = pictures(400)
    found = shifts(images, crop_flip(images, seeded()))
    down, right, mirrored = (np.array(part) for part in zip(*found, strict=True))
    for shift in (down, right):
        counts = np.bincount(shift + 2, minlength=5)
        assert len(counts) == 5 and counts.min() > 50  # 80 expected, sd 8
    assert 150 < mirrored.sum() < 250
    assert abs(np.corrcoef([down, right, mirrored]) - np.eye(3)).max() < 0.2


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_that_of_pillow(channels: int) -> None:
    images, generator = pictures(80, channels=channels), seeded(4)
    factors = [1 + JITTER * (2 * torch.rand(80, 1, 1, 1, generator=generator).flatten() - 1) for _ in range(3)]
    found = jitter(images, seeded(4))
    for index, (before, after) in enumerate(zip(images.numpy(), found.numpy(), strict=True)):
        plain = Image.fromarray(before.squeeze())
        for kind, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
        ):
            plain = kind(plain).enhance(float(factor[index]))
        apart = np.abs(np.asarray(plain).reshape(before.shape).astype(int) - after.astype(int))
        assert apart.max() <= 4 and apart.mean() < 2  # Pillow cuts fractions off after each step
    assert all(0.6 <= float(f.min()) < 0.75 and 1.25 < float(f.max()) <= 1.4 for f in factors)


def episode_batch(images: int) -> EpisodeBatch:
    rows = np.arange(images, dtype=np.int64).reshape(2, -1)
    labels = np.tile(np.arange(4), (2, 1))
    return EpisodeBatch(rows[:, :4], labels, rows[:, 4:], labels, 4)


def test_nothing_is_touched_without_augmentation() -> None:
    images, batch = pictures(16), episode_batch(16)
    before = torch.get_rng_state()
    same, there = training_items(images, batch, "none")
    assert same is images and there is batch and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", AUGMENTS[1:])
def test_items_follow_their_rows_and_the_training_stream(kind: str) -> None:
    images, batch = pictures(16), episode_batch(16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first, there = training_items(images, batch, kind)
        second, _ = training_items(images, batch, kind)
        torch.manual_seed(3)
        again, _ = training_items(images, batch, kind)
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert first.dtype == torch.uint8 and first.shape == images.shape
    assert np.array_equal(np.concatenate([there.support, there.query], 1).ravel(), np.arange(16))
    assert there.query_labels is batch.query_labels
    if kind == "crop-flip":
        order = np.concatenate([batch.support, batch.query], 1).ravel()
        assert len(shifts(images[order], first)) == 16  # row for row the same image


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClassSplit]:
    context = DataContext(cache=tmp_path_factory.mktemp("glyphs"))
    data = Glyphs(train_classes=10, val_classes=6, test_classes=6)
    return {name: data.load(name, context) for name in ("train", "val")}


def make_trainer(splits: dict[str, ClassSplit], state: Path, head: Any, recipe: Stage) -> Trainer:
    model = build_model(Conv4, {"channels": 4}, head, {}, (1, 28, 28), 0, 4)
    learner: Learner = FeatureLearner(model) if issubclass(head, FeatureHead) else AdaptiveLearner(model)  # type: ignore[arg-type]
    images = {name: to_device(split.images, torch.device("cpu")) for name, split in splits.items()}
    source, val = (EpisodeSource(FixedWay(4, 1, 2), splits[name], [name]) for name in ("train", "val"))
    objective = EpisodeObjective(learner, recipe, images["train"], source)
    return Trainer(objective, recipe, learner, (images["val"], val), state)


@pytest.mark.parametrize("head", [ProtoNet, Maml])
def test_killed_and_resumed_it_ends_the_same(
    head: Any, splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_SECONDS", -1.0)
    recipe = dataclasses.replace(RECIPE, augment="crop-flip-jitter")

    def stop(progress: trainer.Progress, loss: float) -> None:
        if progress.position == 4:
            raise RuntimeError("killed")

    whole, other, plain = (make_trainer(splits, tmp_path / name, head, recipe) for name in ("whole", "cut", "plain"))
    before = torch.get_rng_state()
    whole.run(0, lambda *_: None)
    with pytest.raises(RuntimeError, match="killed"):
        other.run(0, stop)
    resumed = make_trainer(splits, tmp_path / "cut", head, recipe)
    resumed.run(0, lambda *_: None)
    plain.objective.stage = RECIPE
    plain.run(0, lambda *_: None)
    assert torch.equal(before, torch.get_rng_state())
    ours, theirs, without = (each.model.state_dict() for each in (whole, resumed, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], without[name]) for name in ours)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"train\.augment must be one of none, crop-flip, crop-flip-jitter, not 'flip'"
    ):
        check_stage(dataclasses.replace(RECIPE, augment="flip"))


def test_only_training_is_augmented(
    splits: dict[str, ClassSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = augmentation.crop_flip
    monkeypatch.setattr(augmentation, "crop_flip", lambda images, g: (seen.append(len(images)), plain(images, g))[1])
    one = make_trainer(splits, tmp_path / "one", ProtoNet, dataclasses.replace(RECIPE, augment="crop-flip", episodes=2))
    one.run(0, lambda *_: None)
    assert seen == [12, 12]  # two episodes of 4 classes, 1 + 2 images each; validation passes by
