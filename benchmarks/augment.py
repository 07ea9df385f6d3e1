"""Cost of augmentation beside the step that it belongs to: `python benchmarks/augment.py`.

One training step of `trainer.Trainer` (draw, augment, forward, backward, update) on made-up 84x84 images,
5-way 1-shot with 15 queries, one thread on a CPU; processor time, median of rounds in turn.
"""

from __future__ import annotations

import dataclasses
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from metabench.data import ClassSplit
from metabench.episodes.source import EpisodeSource
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import build_model
from metabench.registry.stage import Stage
from metabench.registry.stage_checks import AUGMENTS
from metabench.training.objectives import EpisodeObjective
from metabench.training.trainer import Trainer
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_protocols.fixed_way import FixedWay

ROUNDS = 5
RECIPE = Stage(way=5, shot=1, query=15, episodes=10_000, train_on="train+val")
BACKBONES = (("conv4", Conv4),)


def main() -> None:
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (2_000, 84, 84, 3), dtype=np.uint8)
    split = ClassSplit(pixels, np.arange(0, 2_001, 100), tuple(map(str, range(20))))
    print("| backbone | " + " | ".join(f"{kind} (ms)" for kind in AUGMENTS) + " |")
    print("| --- " * (len(AUGMENTS) + 1) + "|")
    for name, body in BACKBONES:
        times: dict[str, list[float]] = {kind: [] for kind in AUGMENTS}
        with tempfile.TemporaryDirectory() as folder:
            model = build_model(body, {}, ProtoNet, {}, (3, 84, 84), 0)
            source = EpisodeSource(FixedWay(5, 1, 15), split, ["benchmark"])
            learner = FeatureLearner(model)
            objective = EpisodeObjective(learner, RECIPE, torch.from_numpy(pixels), source)
            trainer = Trainer(objective, RECIPE, learner, None, Path(folder) / "s")
            for index in range(ROUNDS + 1):
                for kind in AUGMENTS:
                    objective.stage = dataclasses.replace(RECIPE, augment=kind)
                    started = time.process_time()
                    trainer._step()
                    times[kind] += [time.process_time() - started] if index else []
        cells = (f"{1e3 * statistics.median(found):.0f}" for found in times.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
