"""Images per second of a stage of classes beside a plain PyTorch loop: `python benchmarks/supervised.py`.

Both train the same network on the same random uint8 images of 32x32, 64 at a time, by SGD with momentum, from the
same weights, with the same number of threads: the step of `metabench.training.trainer.Trainer` on one side, on the
other what a tutorial writes, a `DataLoader` in this process left out: rows of a random order, `float() / 255`, forward,
cross-entropy, backward, step, the loss as a number. With augmentation the plain loop shifts and mirrors the
images of a batch one by one by tensor slices. They take turns, round after round, a ratio is taken within a round, and
the plain loop is taken in the memory layout in which it is faster.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.api import Backbone
from metabench.learners.augmentation import padding
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Model
from metabench.models.nearest_unit_mean import NearestUnitMean
from metabench.registry.stage import Stage
from metabench.runtime.memory_limits import keep_freed_memory
from metabench.training.class_model import ClassModel
from metabench.training.objectives import ClassObjective
from metabench.training.trainer import Trainer
from metabench_backbones.conv4 import Conv4
from metabench_backbones.resnet12 import ResNet12

SIDE, CLASSES, ITEMS = 32, 64, 600
BATCH = 64
STAGE = Stage(
    name="pretrain", objective="classes", epochs=90, batch=BATCH, optimizer="sgd", lr=0.05, momentum=0.9,
    weight_decay=5e-4, validate_every=90, select="last",
)  # fmt: skip
BACKBONES: dict[str, Callable[[], Backbone]] = {
    "conv4": lambda: Conv4((3, SIDE, SIDE)),
    "resnet12": lambda: ResNet12((3, SIDE, SIDE)),
}
AUGMENTS = ("none", "crop-flip")


def plain_conv4() -> nn.Module:
    """Return Conv-4 as papers and tutorials write it."""
    blocks: list[nn.Module] = []
    for channels in (3, 64, 64, 64):
        blocks += [nn.Conv2d(channels, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten())


def crop_flip(images: Tensor) -> Tensor:
    """Shift each of float images (N, C, H, W) with black from outside and mirror half of them, one by one."""
    most = padding(SIDE)
    wide = F.pad(images, [most] * 4)
    places = torch.randint(0, 2 * most + 1, (len(images), 2)).tolist()
    mirrored = (torch.rand(len(images)) < 0.5).tolist()
    cut = [image[:, y : y + SIDE, x : x + SIDE] for image, (y, x) in zip(wide, places, strict=True)]
    return torch.stack([image.flip(-1) if flip else image for image, flip in zip(cut, mirrored, strict=True)])


class PlainLoop:
    """The loop of a tutorial."""

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, augment: str, layout: torch.memory_format):
        self.images, self.labels, self.augment, self.layout = images, labels, augment, layout
        # torch declares no `to` with a memory format alone
        self.model = network.to(memory_format=layout).train()  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=STAGE.lr, momentum=STAGE.momentum, weight_decay=STAGE.weight_decay
        )
        self.order = torch.randperm(len(images))
        self.position = 0

    def step(self) -> float:
        rows = self.order[self.position : self.position + BATCH]
        self.position = (self.position + BATCH) % (len(self.order) - BATCH)
        inputs = self.images[rows].permute(0, 3, 1, 2).float().div_(255)
        if self.augment == "crop-flip":
            inputs = crop_flip(inputs)
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.model(inputs.contiguous(memory_format=self.layout)), self.labels[rows])
        loss.backward()
        self.optimizer.step()
        return loss.item()


def ours(name: str, images: Tensor, labels: Tensor, augment: str, folder: Path) -> Callable[[], float]:
    """Return the step of metabench's trainer."""
    stage = dataclasses.replace(STAGE, augment=augment)
    torch.manual_seed(0)
    module = ClassModel(BACKBONES[name](), CLASSES, stage, 0)
    objective = ClassObjective(module, stage, images, np.arange(len(images)), labels, "benchmark")
    learner = FeatureLearner(Model(module.backbone, NearestUnitMean(module.backbone.feature_dim)))
    return Trainer(objective, stage, learner, None, folder / f"{name}-{augment}")._step


def plain(name: str, images: Tensor, labels: Tensor, augment: str, layout: torch.memory_format) -> Callable[[], float]:
    """Return the step of a plain loop; ResNet-12 is the module of metabench, whose code is what papers use."""
    torch.manual_seed(0)
    dim = BACKBONES[name]().feature_dim
    body = plain_conv4() if name == "conv4" else BACKBONES[name]()
    return PlainLoop(nn.Sequential(body, nn.Linear(dim, CLASSES)), images, labels, augment, layout).step


def rates(work: dict[str, Callable[[], float]], steps: int) -> dict[str, tuple[float, float]]:
    """Return images per second of processor time and of wall time, step by step in turn."""
    taken = {name: [0.0, 0.0] for name in work}
    for _ in range(steps):
        for name, step in work.items():
            processor, wall = time.process_time(), time.perf_counter()
            step()
            taken[name][0] += time.process_time() - processor
            taken[name][1] += time.perf_counter() - wall
    return {name: (BATCH * steps / used[0], BATCH * steps / used[1]) for name, used in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="of each in a round")
    parser.add_argument("--backbone", choices=list(BACKBONES), default="conv4")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # as every metabench command does; here the plain loop gains from it too
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (CLASSES * ITEMS, SIDE, SIDE, 3), dtype=np.uint8)
    )
    labels = torch.arange(CLASSES).repeat_interleave(ITEMS)
    print("| augmentation | clock | plain loop, default (images/s) | channels last | metabench | ratio (range) |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for augment in AUGMENTS:
            work = {
                "default": plain(given.backbone, images, labels, augment, torch.contiguous_format),
                "last": plain(given.backbone, images, labels, augment, torch.channels_last),
                "ours": ours(given.backbone, images, labels, augment, Path(folder)),
            }
            rates(work, 2)
            rounds = [rates(work, given.steps) for _ in range(given.rounds)]
            for clock, which in (("processor", 0), ("wall", 1)):
                ratios = [each["ours"][which] / max(each["default"][which], each["last"][which]) for each in rounds]
                cells = [f"{median(each[name][which] for each in rounds):,.0f}" for name in work]
                spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
                print(f"| {augment} | {clock} | {' | '.join(cells)} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
