"""Cost of checking outputs and shuffling queries: `python benchmarks/output_checks.py`.

Nearest mean, the quickest head, on made-up features, so that what is measured weighs most. Each round evaluates the
same episodes with everything, without the checks of outputs and episodes, without the order of queries, and with the
plain expansion of distances; in turn, one thread, processor time.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from metabench.data import ClassSplit
from metabench.episodes import source
from metabench.episodes.source import EpisodeSource
from metabench.evaluation import scoring
from metabench.learners.feature_learner import FeatureLearner
from metabench.models import embedding, prototypes
from metabench.models.assembly import Embedded, Model
from metabench.models.interfaces import Backbone
from metabench_algorithms.metric.protonet import NearestMean
from metabench_backbones.conv4 import Conv4
from metabench_backbones.pixels import Pixels
from metabench_protocols.fixed_way import FixedWay

CASES = ((64, 5, 1), (64, 20, 5), (640, 5, 5), (1600, 5, 1))
ROUNDS, EPISODES, CLASSES, IMAGES = 40, 2000, 100, 200


def accept(value: Any, *_: Any, **__: Any) -> Any:
    """Stand in for a check."""
    return value


def unchecked() -> list[Any]:
    """Return patches that take the checks out."""
    names = ("require_tensor", "require_finite", "require_independence")
    parts = [patch.object(scoring, name, accept) for name in names]
    parts += [patch.object(source, "require_episodes", accept)]
    return parts + [
        patch.object(embedding, name, accept) for name in ("require_tensor", "require_finite", "require_range")
    ]


def in_order() -> list[Any]:
    """Return patches that give queries as the protocol draws them."""

    def answer(learner: Any, data: Tensor, source: Any, start: int, batch: Any) -> tuple[Tensor, Tensor]:
        return scoring.checked_outputs(learner, data, batch, start), learner.truth(data, batch)

    same = patch.object(
        EpisodeSource, "query_orders", lambda self, start, stop, n: np.tile(np.arange(n), (stop - start, 1))
    )
    return [patch.object(scoring, "answer", answer), same]


def plain(query: Tensor, support: Tensor, labels: Tensor, way: int) -> Tensor:
    """Return distances to means without the look at what they have lost."""
    sums, counts = prototypes.class_sums(support, labels, way)
    n = counts[:, None]
    products = torch.bmm(query, sums.transpose(1, 2))
    squares = query.square().sum(-1, keepdim=True)
    return (n.square() * squares - 2 * n * products + sums.square().sum(-1)[:, None]) / n.square()


def plain_distances() -> list[Any]:
    """Return patches that compute distances by it."""
    return [patch("metabench_algorithms.metric.protonet.distances_to_means", plain)]


@contextmanager
def all_of(patches: list[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


VARIANTS: dict[str, Callable[[], list[Any]]] = {
    "all": list,
    "no checks": unchecked,
    "no order": in_order,
    "plain distances": plain_distances,
}


def ratios(work: Callable[[], Any]) -> dict[str, float]:
    """Return the least time over rounds of everything, as a multiple of the least time of each variant."""
    taken: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for turn in range(ROUNDS + 1):
        for name, patches in VARIANTS.items():
            with all_of(patches()):
                started = time.process_time()
                work()
                if turn:  # the first warms up
                    taken[name].append(time.process_time() - started)
    least = {name: min(times) for name, times in taken.items()}
    return {name: least["all"] / time for name, time in least.items()} | {"ms": 1000 * least["all"]}


def evaluation(dim: int, way: int, shot: int) -> Callable[[], Any]:
    data = torch.rand(CLASSES * IMAGES, dim, generator=torch.Generator().manual_seed(0))
    split = ClassSplit(
        np.zeros((len(data), 1, 1, 1), np.uint8),
        np.arange(0, len(data) + 1, IMAGES),
        tuple(str(number) for number in range(CLASSES)),
    )
    source = EpisodeSource(FixedWay(way, shot, 15), split, "checks")
    learner = FeatureLearner(Model(Embedded((dim,)), NearestMean(dim)))
    count = max(200, EPISODES * 5 // way // (1 + dim // 640))
    return lambda: scoring.evaluate(learner, data, source, count, np.zeros(0), lambda scores: None)


def embed_all(backbone: Backbone, images: int) -> Callable[[], Any]:
    shape = (images, 28, 28, 1)
    items = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return lambda: embedding.embed(backbone, items)


def main() -> None:
    torch.set_num_threads(1)
    print("| nearest mean | ms | checks | order of queries | distances |\n|---|--:|--:|--:|--:|")
    for dim, way, shot in CASES:
        found = ratios(evaluation(dim, way, shot))
        shares = " | ".join(f"{found[name] - 1:+.1%}" for name in ("no checks", "no order", "plain distances"))
        print(f"| {way}-way {shot}-shot, {dim} features | {found['ms']:.0f} | {shares} |", flush=True)
    for name, backbone, images in (("conv4", Conv4((1, 28, 28)), 1280), ("pixels", Pixels((1, 28, 28)), 12800)):
        found = ratios(embed_all(backbone, images))
        print(
            f"| embedding {images} images, {name} | {found['ms']:.0f} | {found['no checks'] - 1:+.1%} | | |", flush=True
        )


if __name__ == "__main__":
    main()
