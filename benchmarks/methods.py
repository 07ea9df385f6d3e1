"""Seconds for 1,000 episodes of every built-in method, beside easyfsl's: `python benchmarks/methods.py`.

5-way 5-shot with 15 queries of each class, through the evaluation that a run uses, processor time on one thread,
median and range of rounds. Methods on features have random rectified ones of 640 numbers (as maps: 40x4x4) in 100
overlapping classes of 100 items; the head "none" returns numbers of the queries as they are, which is what drawing,
gathering and counting take. Where easyfsl has the method it works on the same features in the same round, and the
ratio is taken within the round. Methods that adapt a network have random images of 28x28 and their default backbone,
or, where they predict numbers only, sinusoids.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import QUERY, SHOT, WAY
from torch import Tensor

from metabench.api import AlgorithmSpec, ClassSplit, DataContext, Episode, FeatureHead, Param
from metabench.episodes.source import EpisodeSource
from metabench.evaluation.scoring import evaluate
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.base import Learner
from metabench.learners.feature_learner import FeatureLearner, batch_episode
from metabench.models.assembly import Embedded, Model, build_model
from metabench.models.head_scores import head_scores
from metabench.registry.registry import load_registry, load_target
from metabench.runtime.memory_limits import keep_freed_memory
from metabench_datasets.sinusoid import SPEC as SINUSOID
from metabench_datasets.sinusoid import Sinusoid
from metabench_protocols.fixed_way import FixedWay
from metabench_protocols.regression import Regression

CLASSES, ITEMS = 100, 100
VECTORS, MAPS, IMAGES = (640,), (40, 4, 4), (1, 28, 28)
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("matching-net", {"fce": True, "steps": WAY * SHOT}),
    ("hausdorff", {"threshold": 1.3}),
)
"""Parameters other than the defaults; those of hausdorff make a tenth of the numbers ink, as in drawings."""
INSTEAD = ("hausdorff",)
"""Measured with these parameters only."""
SAME_EPISODES = 40
LEAST = 16
"""Episodes, at least."""


class Nothing(FeatureHead):
    """Does no work."""

    def logits(self, episode: Episode) -> Tensor:
        return episode.query[..., : episode.way].clone()  # a view would keep the features alive


@dataclass
class Row:
    """A method and what was measured of it."""

    name: str
    reads: str
    learner: Learner
    data: Tensor
    source: EpisodeSource
    episodes: int = 0
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    peer_accuracy: list[float] = field(default_factory=list)
    peer: Callable[[], float] | None = None
    agreement: str = ""


def features() -> Tensor:
    """Return features (N, 640), class after class."""
    generator = torch.Generator().manual_seed(0)
    centres = 0.2 * torch.randn(CLASSES, 1, *VECTORS, generator=generator)
    return (centres + torch.randn(CLASSES, ITEMS, *VECTORS, generator=generator)).relu().flatten(0, 1)


def source(images: np.ndarray, shape: tuple[int, ...]) -> EpisodeSource:
    """Return 5-way 5-shot episodes."""
    split = ClassSplit(images, np.arange(CLASSES + 1) * ITEMS, tuple(map(str, range(CLASSES))))
    return EpisodeSource(FixedWay(WAY, SHOT, QUERY), split, ["methods", shape])


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of some work, of processes that it made too, and its result."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    started = used()
    result = work()
    return used() - started, result


def defaults(params: tuple[Param, ...], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {**{param.name: param.default for param in params}, **changes}


def feature_rows(wanted: Callable[[str], bool]) -> Iterator[Row]:
    """Make the rows of methods on features, with easyfsl's beside ours where it is installed."""
    data, classes = features(), torch.arange(CLASSES).repeat_interleave(ITEMS)
    episodes = source(np.zeros((CLASSES * ITEMS, 1, 1, 1), np.uint8), VECTORS)
    yield Row("none", "vectors", FeatureLearner(Model(Embedded(VECTORS), Nothing())), data, episodes)
    peers = installed_peers()
    for name, spec, changes in variants("features"):
        if not wanted(name):
            continue
        shape = MAPS if spec.reads == "maps" else VECTORS
        torch.manual_seed(0)
        params = defaults(spec.params, changes) | ({"way": WAY} if spec.ways == "one" else {})
        head = load_target(spec)(shape if spec.reads == "maps" else shape[0], **params).eval()
        learner = FeatureLearner(Model(Embedded(VECTORS, map_shape=MAPS), head, shape))
        learner.algorithm = name
        if "base" in spec.uses_with(params):
            learner.study(data, classes)
        row = Row(name, "x".join(map(str, shape)), learner, data, episodes)
        if name in peers:
            add_peer(row, head, peers[name], data.view(-1, *shape), classes)
        yield row


def installed_peers() -> Mapping[str, Any]:
    try:
        from easyfsl_methods import PEERS
    except ModuleNotFoundError as error:
        print(f"{error}; only metabench is measured. See benchmarks/README.md", file=sys.stderr)
        return {}
    return PEERS


def add_peer(row: Row, head: FeatureHead, peer: Any, data: Tensor, classes: Tensor) -> None:
    """Put easyfsl's classifier beside ours and compare the answers of both to the same episodes."""
    from easyfsl_methods import answers

    classifier = peer.make(head, data)

    def work() -> float:
        taken, accuracy = seconds(lambda: peer.accuracy(classifier, data, classes))
        row.peer_accuracy.append(accuracy)
        return 1000 * taken / peer.episodes

    row.peer = work
    if peer.same:
        batch = row.source.batch(0, SAME_EPISODES)
        episode = batch_episode(row.data, batch, tuple(data.shape[1:]))
        with torch.no_grad():
            ours = head_scores(head, episode).argmax(-1)
        theirs = answers(classifier, episode.support, episode.labels, episode.query)
        row.agreement = f"{100 * float((ours == theirs).double().mean()):.2f} %"


def variants(takes: str) -> Iterator[tuple[str, AlgorithmSpec, dict[str, Any]]]:
    """Yield (name of the row, spec, parameters that are not the defaults) of every built-in method."""
    for name, spec in sorted(load_registry().algorithms.items()):
        if spec.takes != takes:
            continue
        if name not in INSTEAD:
            yield name, spec, {}
        for changes in (changes for other, changes in VARIANTS if other == name):
            yield ", ".join([name, *(f"{key}={value}" for key, value in changes.items())]), spec, changes


def image_rows(wanted: Callable[[str], bool], folder: Path) -> Iterator[Row]:
    """Make the rows of methods that adapt a network to each task."""
    registry = load_registry()
    pixels = np.random.default_rng(0).integers(0, 256, (CLASSES * ITEMS, *IMAGES[1:], 1), dtype=np.uint8)
    waves = Sinusoid(**defaults(SINUSOID.params, {})).load("test", DataContext(folder, ()))
    for name, spec, changes in variants("images"):
        if not wanted(name):
            continue
        backbone = registry.backbones[spec.backbone]
        params = defaults(spec.params, changes)
        if "labels" in spec.answers:
            episodes, shape, way = source(pixels, IMAGES), IMAGES, WAY
        else:
            episodes, shape, way = EpisodeSource(Regression(SHOT, QUERY), waves, "methods"), waves.item_shape, 1
        body = load_target(backbone), defaults(backbone.params, {})
        built = build_model(*body, load_target(spec), params, shape, 0, way)
        reads = backbone.name if "labels" in spec.answers else f"{backbone.name}, numbers"
        data = torch.from_numpy(np.array(episodes.split.images))
        yield Row(name, reads, AdaptiveLearner(built, device=torch.device("cpu")), data, episodes)


def measure(row: Row, episodes: int) -> float:
    """Evaluate; return the seconds for 1,000 episodes."""
    shares = list[np.ndarray]()
    taken, _ = seconds(
        lambda: evaluate(row.learner, row.data, row.source, episodes, np.empty(0), lambda part: shares.append(part))
    )
    row.accuracy = 100 * float(np.concatenate(shares).mean())
    return 1000 * taken / episodes


def spread(values: list[float], digits: str) -> str:
    return f"{median(values):{digits}} ({min(values):{digits}}-{max(values):{digits}})"


def line(row: Row) -> str:
    """Return a row of the table."""
    cells = [row.name, row.reads, spread(row.ours, ".3g"), f"{row.episodes:,}", f"{row.accuracy:.1f}"]
    if row.theirs:
        ratios = [b / a for a, b in zip(row.ours, row.theirs, strict=True)]
        found = sum(row.peer_accuracy) / len(row.peer_accuracy)
        cells += [f"{median(row.theirs):.3g}", f"{spread(ratios, '.3g')}", f"{found:.1f}", row.agreement]
    return "| " + " | ".join(cells + [""] * (9 - len(cells))) + " |"


def matrix_product() -> float:
    """Return the GFLOP/s of a large product."""
    a = torch.rand(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a)[0] for _ in range(10)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=10_000, help="of a method in a round, at most")
    parser.add_argument("--seconds", type=float, default=10, help="for which a method works in a round, about")
    parser.add_argument("methods", nargs="*", help="names of rows; default: all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as every metabench command does

    def wanted(name: str) -> bool:
        return not given.methods or name in given.methods

    with tempfile.TemporaryDirectory() as folder:
        rows = [*feature_rows(wanted), *image_rows(wanted, Path(folder))]
    for row in rows:
        measure(row, 2)
        pilot = measure(row, LEAST) / 1000
        row.episodes = int(min(given.episodes, max(LEAST, given.seconds / pilot)))
    speeds = [matrix_product()]
    for number in range(given.rounds):
        for row in rows:
            row.ours.append(measure(row, row.episodes))
            if row.peer is not None:
                row.theirs.append(row.peer())
            print(number + 1, line(row), file=sys.stderr, flush=True)
        speeds.append(matrix_product())
    print(
        "| method | reads | s for 1,000 episodes (range) | episodes | accuracy | easyfsl's s | ratio (range) "
        "| its accuracy | same answers |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(map(line, rows)))
    print(f"\nMatrix product 1024 x 1024, float32, one thread: {median(speeds):.0f} GFLOP/s.")


if __name__ == "__main__":
    main()
