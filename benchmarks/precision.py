"""Gain of `--precision bfloat16` on a CPU that multiplies such numbers: `python benchmarks/precision.py`.

Images embedded per second, and training steps of `trainer.Trainer` (draw, forward, backward, update), of
Prototypical Networks with Conv-4 on made-up images; one thread, processor time, median of rounds in turn.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from metabench.data import ClassSplit
from metabench.episodes.source import EpisodeSource
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import build_model
from metabench.models.embedding import DTYPES, embed
from metabench.registry.stage import Stage
from metabench.runtime.memory_limits import keep_freed_memory
from metabench.training.objectives import EpisodeObjective
from metabench.training.trainer import Trainer
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_protocols.fixed_way import FixedWay

ROUNDS = 5
RECIPE = Stage(way=20, shot=1, query=5, episodes=10_000, train_on="train+val")
SHAPES = ((28, 28, 1), (32, 32, 3), (84, 84, 3))


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(shape: tuple[int, int, int]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Return by precision, for every round, seconds for embedding an image and for a training step."""
    pixels = np.random.default_rng(0).integers(0, 256, (600, *shape), dtype=np.uint8)
    split = ClassSplit(pixels, np.arange(0, 601, 20), tuple(map(str, range(30))))
    images, source = torch.from_numpy(pixels), EpisodeSource(FixedWay(20, 1, 5), split, ["benchmark"])
    embedding, training = [], []
    with tempfile.TemporaryDirectory() as folder:
        trainers = {}
        for precision in DTYPES:
            model = build_model(Conv4, {}, ProtoNet, {}, (shape[2], *shape[:2]), 0)
            learner = FeatureLearner(model, precision)
            state = Path(folder) / precision
            trainers[precision] = Trainer(
                EpisodeObjective(learner, RECIPE, images, source), RECIPE, learner, None, state, precision=precision
            )
        for index in range(ROUNDS + 1):
            found = [
                {
                    name: seconds(lambda name=name: embed(trainers[name].model.backbone, images, name)) / 600
                    for name in DTYPES
                },
                {name: seconds(trainers[name]._step) for name in DTYPES},
            ]
            if index:
                embedding.append(found[0])
                training.append(found[1])
    return embedding, training


def cells(rounds: list[dict[str, float]], scale: float) -> str:
    """Return the medians and the median ratio with its range."""
    first, second = (statistics.median(found[name] for found in rounds) * scale for name in DTYPES)
    ratios = sorted(found["float32"] / found["bfloat16"] for found in rounds)
    return f"{first:.2f} | {second:.2f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| images | what | float32 (ms) | bfloat16 (ms) | ratio, range |\n| --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        embedding, training = compare(shape)
        size = "x".join(map(str, shape))
        print(f"| {size} | embedding an image | {cells(embedding, 1e3)} |")
        print(f"| {size} | a training step, 120 images | {cells(training, 1e3)} |", flush=True)


if __name__ == "__main__":
    main()
