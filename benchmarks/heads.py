"""Seconds for 1,000 episodes of heads on cached features: `python benchmarks/heads.py`.

Random rectified features of 640 numbers in 100 overlapping classes of 100 items; 5-way 5-shot with 15 queries of each
class, through the evaluation that a run uses, on one thread. The head of the first row returns numbers of the queries
as they are: what drawing, gathering and counting take. The limit of ridge regression is that plus its arithmetic at
the speed of a large matrix product.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metabench.api import ClassSplit, Episode, FeatureHead
from metabench.episodes.source import EpisodeSource
from metabench.evaluation.scoring import evaluate
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Embedded, Model
from metabench.registry.registry import load_registry, load_target
from metabench_protocols.fixed_way import FixedWay

CLASSES, ITEMS = 100, 100
HEADS = ("protonet", "r2d2", "metaoptnet-ridge", "metaoptnet-svm", "linear-probe")
RIDGE = {"r2d2", "metaoptnet-ridge"}


class Nothing(FeatureHead):
    """Does no work."""

    def logits(self, episode: Episode) -> Tensor:
        return episode.query[..., : episode.way]


def features(dim: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = 0.2 * torch.randn(CLASSES, 1, dim, generator=generator)
    return (centres + torch.randn(CLASSES, ITEMS, dim, generator=generator)).relu().flatten(0, 1)


def source(way: int, shot: int, query: int) -> EpisodeSource:
    images = np.zeros((CLASSES * ITEMS, 1, 1, 1), np.uint8)
    starts = np.arange(CLASSES + 1) * ITEMS
    return EpisodeSource(
        FixedWay(way, shot, query), ClassSplit(images, starts, tuple(map(str, range(CLASSES)))), "heads"
    )


def seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of some work, that of a busy machine's other processes left out."""
    started = time.process_time()
    work()
    return time.process_time() - started


def ridge_arithmetic(way: int, shot: int, query: int, dim: int) -> float:
    """Return the seconds that the products and the factor of one ridge regression take at full speed."""
    a, items = torch.rand(1024, 1024), way * shot
    fit = 2 * items**2 * dim + items**3 / 3 + 2 * items**2 * way + 2 * items * dim * way
    return (fit + 2 * way * query * dim * way) * min(seconds(lambda: a @ a) for _ in range(5)) / (2 * 1024**3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("way", 5), ("shot", 5), ("query", 15), ("dim", 640), ("episodes", 10_000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("heads", nargs="*", default=HEADS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, episodes = features(given.dim), source(given.way, given.shot, given.query)
    registry = load_registry()

    def measure(head: FeatureHead) -> tuple[float, float, float, float]:
        """Median, smallest and largest seconds for 1,000 episodes, and the accuracy."""
        learner, times, shares = FeatureLearner(Model(Embedded((given.dim,)), head)), [], []
        for _ in range(given.rounds):
            shares = list[np.ndarray]()
            work = lambda: evaluate(learner, data, episodes, given.episodes, np.empty(0), shares.append)  # noqa: E731, B023
            times.append(1000 * seconds(work) / given.episodes)
        return statistics.median(times), min(times), max(times), 100 * float(np.concatenate(shares).mean())

    print("| head | s for 1,000 episodes (range) | of it the head | limit of ridge | accuracy |")
    print("| --- | --- | --- | --- | --- |")
    alone, *_ = measure(Nothing())
    print(f"| none | {alone:.3f} | | | |")
    arithmetic = 1000 * ridge_arithmetic(given.way, given.shot, given.query, given.dim)
    for name in given.heads:
        head = load_target(registry.algorithms[name])(given.dim)
        middle, least, most, accuracy = measure(head)
        limit = f"{alone + arithmetic:.3f}" if name in RIDGE else ""
        print(f"| {name} | {middle:.3f} ({least:.3f}-{most:.3f}) | {middle - alone:.3f} | {limit} | {accuracy:.1f} |")


if __name__ == "__main__":
    main()
