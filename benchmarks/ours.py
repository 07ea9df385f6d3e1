"""metabench's own worker: its public functions, called in the order in which a run calls them."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from common import QUERY, SEED, SHOT, WAY, Setting, conv4, image_flops, serve, timed
from torch import Tensor

from metabench.data import ClassSplit
from metabench.environment import keep_freed_memory, peak_memory_mb
from metabench.episodes import EpisodeSource
from metabench.evaluate import evaluate
from metabench.features import embed, to_device
from metabench.learner import FeatureLearner
from metabench.model import Model
from metabench.specs import Recipe
from metabench.training import Trainer
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_protocols.fixed_way import FixedWay

SETTING = Setting.from_env()
CPU = torch.device("cpu")


@cache
def split_of(name: str, rotations: bool) -> ClassSplit:
    return SETTING.split(name, rotations)


def model() -> Model:
    backbone = conv4()
    return Model(backbone, ProtoNet(backbone.feature_dim))


def source(split: ClassSplit, shot: int) -> EpisodeSource:
    return EpisodeSource(FixedWay(WAY, shot, QUERY), split, ["benchmark", SEED])


def embedded(split: ClassSplit) -> Tensor:
    backbone = conv4()
    return embed(backbone.eval().for_inference(), to_device(split.images, CPU), backbone.feature_dim)


@cache
def known_features(rotations: bool) -> Tensor:
    return embedded(split_of("test", rotations))


def score(split: ClassSplit, features: Tensor, episodes: int) -> float:
    """Return the accuracy in percent."""
    counts: list[np.ndarray] = []
    evaluate(FeatureLearner(model()), features, source(split, SHOT), episodes, np.empty(0, np.int32), counts.append)
    return 100 * float(np.concatenate(counts).mean()) / (WAY * QUERY)


def evaluation(rotations: bool, episodes: int) -> dict[str, float]:
    """From uint8 images and weights to the score of every episode."""
    split = split_of("test", rotations)
    embedding, features = timed(lambda: embedded(split))
    scoring, accuracy = timed(lambda: score(split, features, episodes))
    total = embedding + scoring
    return {
        "rate": episodes / total,
        "seconds": total,
        "embedding": embedding,
        "gflops": len(split.images) * image_flops() / embedding / 1e9,
        "accuracy": accuracy,
    }


def scoring(rotations: bool, episodes: int) -> dict[str, float]:
    """Features known, the scores of every episode."""
    split, features = split_of("test", rotations), known_features(rotations)
    seconds, accuracy = timed(lambda: score(split, features, episodes))
    return {"rate": episodes / seconds, "accuracy": accuracy}


def training(shot: int, episodes: int) -> dict[str, float]:
    """Episodes of the training loop, validation left out (the peers' loops have none here)."""
    train = split_of("train", True)
    recipe = Recipe(way=WAY, shot=shot, query=QUERY, episodes=10**9)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            FeatureLearner(model()),
            recipe,
            to_device(train.images, CPU),
            source(train, shot),
            None,
            Path(folder) / "state.safetensors",
        )
        trainer._step()  # the optimiser's state is allocated here
        seconds, _ = timed(lambda: [trainer._step() for _ in range(episodes)])
    return {"rate": episodes / seconds}


def matrix_product(size: int) -> dict[str, float]:
    """The machine's yardstick: GFLOP/s of a large float32 matrix product."""
    a = torch.rand(size, size)
    torch.mm(a, a)
    seconds = min(timed(lambda: torch.mm(a, a))[0] for _ in range(3))
    return {"gflops": 2 * size**3 / seconds / 1e9}


def memory(rotations: bool, episodes: int) -> dict[str, float]:
    """Peak resident memory of an evaluation above that after the imports, MB; for a fresh process."""
    before = peak_memory_mb()
    evaluation(rotations, episodes)
    return {"megabytes": (peak_memory_mb() - before) * 1.048576}


if __name__ == "__main__":
    torch.set_num_threads(SETTING.threads)
    keep_freed_memory()  # as every metabench command does
    tasks = {task.__name__: task for task in (evaluation, scoring, training, matrix_product, memory)}
    sys.exit(serve(tasks))
