"""metabench's own worker: its public functions, called in the order in which a run calls them."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from common import CHANNELS, IMAGE_SHAPE, QUERY, SEED, SHOT, WAY, Setting, conv4, image_flops, serve, timed
from torch import Tensor

from metabench.data import ClassSplit
from metabench.episodes.source import EpisodeSource
from metabench.evaluation.scoring import evaluate
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Model, build_model
from metabench.models.embedding import embed, to_device
from metabench.registry.stage import Stage
from metabench.runtime.memory_limits import keep_freed_memory, peak_memory_mb
from metabench.training.objectives import EpisodeObjective
from metabench.training.trainer import Trainer
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_backbones.conv4_strided import Conv4Strided
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
    return embed(backbone, to_device(split.images, CPU))


@cache
def known_features(rotations: bool) -> Tensor:
    return embedded(split_of("test", rotations))


def score(split: ClassSplit, features: Tensor, episodes: int) -> float:
    """Return the accuracy in percent."""
    shares: list[np.ndarray] = []
    evaluate(FeatureLearner(model()), features, source(split, SHOT), episodes, np.empty(0), shares.append)
    return 100 * float(np.concatenate(shares).mean())


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
    recipe = Stage(way=WAY, shot=shot, query=QUERY, episodes=10**9)
    with tempfile.TemporaryDirectory() as folder:
        learner = FeatureLearner(model())
        objective = EpisodeObjective(learner, recipe, to_device(train.images, CPU), source(train, shot))
        trainer = Trainer(objective, recipe, learner, None, Path(folder) / "state.safetensors")
        trainer._step()  # the optimiser's state is allocated here
        seconds, _ = timed(lambda: [trainer._step() for _ in range(episodes)])
    return {"rate": episodes / seconds}


def adapting(steps: int, pool: bool) -> AdaptiveLearner:
    """Return MAML on the network that learn2learn calls ``OmniglotCNN``, or on Conv-4 with pooling."""
    backbone, params = (Conv4 if pool else Conv4Strided), {"lr": 0.4, "steps": steps}
    built = build_model(backbone, {"channels": CHANNELS}, Maml, params, IMAGE_SHAPE, SEED, WAY)
    assert isinstance(built, Maml)
    return AdaptiveLearner(built)


def maml_evaluation(shot: int, steps: int, pool: bool, episodes: int) -> dict[str, float]:
    """Adapt to test episodes and score their queries."""
    split, learner = split_of("test", True), adapting(steps, pool)
    images, shares = to_device(split.images, CPU), list[np.ndarray]()
    learner.module.eval()
    with torch.inference_mode():
        learner.scores(images, source(split, shot).batch(0, 2))
    seconds, _ = timed(lambda: evaluate(learner, images, source(split, shot), episodes, np.empty(0), shares.append))
    return {"rate": episodes / seconds, "accuracy": 100 * float(np.concatenate(shares).mean())}


def maml_training(shot: int, steps: int, pool: bool, episodes: int, batch: int) -> dict[str, float]:
    """Meta-training to second order, through the harness's step."""
    split = split_of("train", True)
    recipe = Stage(way=WAY, shot=shot, query=QUERY, episodes=10**9, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        images, state = to_device(split.images, CPU), Path(folder) / "state.safetensors"
        learner = adapting(steps, pool)
        objective = EpisodeObjective(learner, recipe, images, source(split, shot))
        trainer = Trainer(objective, recipe, learner, None, state)
        trainer._step()
        count = max(1, episodes // batch)
        seconds, _ = timed(lambda: [trainer._step() for _ in range(count)])
    return {"rate": count * batch / seconds}


def matrix_product(size: int) -> dict[str, float]:
    """Measure the GFLOP/s of a large float32 matrix product, the yardstick of the machine."""
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
    tasks = {
        task.__name__: task
        for task in (evaluation, scoring, training, matrix_product, memory, maml_evaluation, maml_training)
    }
    sys.exit(serve(tasks))
