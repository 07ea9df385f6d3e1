"""How often each interval covers the truth, and how wide it is: many test sets and one model.

    python benchmarks/coverage.py --home DIR --replications 1000

Keeps pools, truths and results in DIR, and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coverage_pool import CHANNELS, pool
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.open_sampling import DisjointSource
from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.evaluation.scoring import winning_classes
from metabench.learners.feature_learner import batch_logits
from metabench.statistics.class_jackknife import class_level
from metabench.statistics.student_t import t_quantile
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_protocols.fixed_way import FixedWay

SHAPES = ((20, 600, 0), (50, 60, 1), (423, 20, 2))  # classes, images of each, tier of the pool
SHOTS = (1, 5)
WAY, QUERY = 5, 15
FEW_QUERIES = {1: 1, 5: 5}  # of Lafargue et al.: more disjoint episodes
TRUTH_EPISODES = 100_000
CHUNK = 2000
RESAMPLES = 300

SLOW_EVERY = 4  # the bootstrap and the many small disjoint episodes take as long as all the rest
HALF = CHANNELS // 2  # the second method, for differences, sees this many of the features

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """One shape of test set and one number of shots."""

    classes: int
    images: int
    tier: int
    shot: int

    @property
    def file(self) -> str:
        return f"{self.classes}x{self.images}-{self.shot}"

    @property
    def name(self) -> str:
        return f"{self.classes} x {self.images}, {self.shot}-shot"


def split_of(classes: int, images: int) -> ClassSplit:
    starts = np.arange(classes + 1, dtype=np.int64) * images
    return ClassSplit(np.empty((classes * images, 0, 0, 0), np.uint8), starts, ("",) * classes)


def score(features: torch.Tensor, source: EpisodeSource, start: int, stop: int) -> tuple[EpisodeBatch, Ints]:
    batch = source.batch(start, stop)
    head = ProtoNet(features.shape[1])
    with torch.inference_mode():
        winners = winning_classes(batch_logits(head, features, batch), lambda: source.tie_words(start, stop))
    return batch, (winners.numpy() == batch.query_labels).sum(1)


def truth(home: Path, features: torch.Tensor, cell: Cell) -> dict[str, tuple[float, float]]:
    """Return accuracy and difference over the whole pool with their standard errors, in percent; kept in `home`."""
    path = home / f"truth-{cell.file}.json"
    if path.exists():
        return json.loads(path.read_text())
    classes = len(features) // cell.images
    source = EpisodeSource(FixedWay(WAY, cell.shot, QUERY), split_of(classes, cell.images), ["truth", cell.name])
    starts = range(0, TRUTH_EPISODES, CHUNK)
    one, two = (
        100 / source.protocol.n_query * np.concatenate([score(kind, source, i, i + CHUNK)[1] for i in starts])
        for kind in (features, features[:, :HALF].contiguous())
    )
    known = {
        name: (float(values.mean()), float(values.std() / math.sqrt(len(values))))
        for name, values in (("accuracy", one), ("difference", one - two))
    }
    path.write_text(json.dumps(known))
    return known


def bootstrap(scores: Floats, members: Ints, classes: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval over resampled classes; an episode weighs as its classes were drawn."""
    drawn = rng.multinomial(classes, np.full(classes, 1 / classes), size=RESAMPLES)
    weights = drawn[:, members].prod(2)  # (resamples, T)
    weights = weights[weights.sum(1) > 0]  # a draw of very few classes may leave no episode
    means = weights @ scores / weights.sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def intervals(features: torch.Tensor, cell: Cell, episodes: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return (low, high) of every interval for one test set."""
    split, rng = split_of(cell.classes, cell.images), np.random.default_rng([seed, cell.classes, cell.shot])
    source = EpisodeSource(FixedWay(WAY, cell.shot, QUERY), split, ["closed", seed])
    batch, correct = score(features, source, 0, episodes)
    tally = EpisodeTally(split.starts)
    tally.update(batch)
    scale = 100 / source.protocol.n_query
    scores = scale * correct
    found = class_level(scores, tally.class_episodes, scale * tally.class_sums(correct))
    assert found is not None
    centre, z = float(scores.mean()), 1.96
    t_classes = t_quantile(cell.classes - 1, 0.95)
    share = WAY / (cell.classes - WAY)
    effects = scale * tally.class_sums(correct) / tally.class_episodes - centre  # of having the class in an episode
    jackknife = math.sqrt((cell.classes - 1) / cell.classes * share**2 * float(effects @ effects))
    halves = {
        "closed": t_quantile(episodes - 1, 0.95) * math.sqrt(found.sampling),
        "jackknife, noise left in": t_classes * jackknife,
        "class-level, z": z * found.standard_error,
        "class-level, t of classes": t_classes * found.standard_error,
        "class-level": t_quantile(found.df, 0.95) * found.standard_error,
    }
    result = {name: (centre - half, centre + half) for name, half in halves.items()}
    slow = seed % SLOW_EVERY == 0
    if slow:
        members = batch.support[:, :: cell.shot] // cell.images
        result["class bootstrap"] = bootstrap(scores, members, cell.classes, rng)
    against = score(features[:, :HALF].contiguous(), source, 0, episodes)[1]
    differences = scores - scale * against
    result["difference, paired t"] = _around(differences, None)
    totals = scale * tally.class_sums(correct - against)
    result["difference, class-level"] = _around(differences, class_level(differences, tally.class_episodes, totals))
    queries = {"open-disjoint": QUERY} | ({"open-disjoint, few queries": FEW_QUERIES[cell.shot]} if slow else {})
    for name, query in queries.items():
        apart = DisjointSource(FixedWay(WAY, cell.shot, query), split, ["open", seed], 10**6)
        batch, correct = score(features, apart, 0, apart.episodes)
        tally = EpisodeTally(split.starts)
        tally.update(batch)
        scale = 100 / (WAY * query)
        result[name] = _around(scale * correct, None)
        robust = class_level(scale * correct, tally.class_episodes, scale * tally.class_sums(correct))
        result[f"{name}, class-level"] = _around(scale * correct, robust)
    return result


def _around(scores: Floats, found: Any) -> tuple[float, float]:
    centre, sem, df = float(scores.mean()), float(scores.std(ddof=1)) / math.sqrt(len(scores)), len(scores) - 1.0
    if found is not None:
        sem, df = found.standard_error, found.df
    return centre - t_quantile(df, 0.95) * sem, centre + t_quantile(df, 0.95) * sem


def test_sets(features: NDArray[np.float32], cell: Cell, replications: int) -> Iterator[torch.Tensor]:
    """Yield the features (classes * images, D) of test sets: classes of the pool, each with all its images."""
    rng = np.random.default_rng([20_240_909, cell.classes])
    for _ in range(replications):
        chosen = rng.choice(len(features), cell.classes, replace=False)
        yield torch.from_numpy(features[chosen].reshape(-1, CHANNELS))


def measure(home: Path, cell: Cell, replications: int, episodes: int) -> None:
    """Write truth, and for every interval its coverage, mean half-width and spread of the centre; now and then anew."""
    features = pool(home, cell.tier)
    known = truth(home, torch.from_numpy(features.reshape(-1, CHANNELS)), cell)
    ends: dict[str, list[tuple[float, float]]] = {}
    for seed, test_set in enumerate(test_sets(features, cell, replications)):
        for name, interval in intervals(test_set, cell, episodes, seed).items():
            ends.setdefault(name, []).append(interval)
        if (seed + 1) % 50 == 0 or seed + 1 == replications:
            value = {name: known["difference" if "difference" in name else "accuracy"][0] for name in ends}
            rows = {name: _summary(ends[name], value[name]) for name in sorted(ends)}
            result = {"name": cell.name, "truth": known, "episodes": episodes, "intervals": rows}
            (home / f"coverage-{episodes}-{cell.file}.json").write_text(json.dumps(result, indent=1))
            print(f"{cell.name}: {seed + 1} of {replications} test sets", file=sys.stderr)


def _summary(pairs: list[tuple[float, float]], value: float) -> dict[str, float]:
    low, high = np.array(pairs).T
    return {
        "test_sets": len(pairs),
        "coverage": round(100 * float(np.mean((low <= value) & (value <= high))), 2),
        "half_width": round(float(np.mean(high - low)) / 2, 3),
        "sd_of_centre": round(float(np.std((low + high) / 2)), 3),
    }


def markdown(results: list[dict[str, Any]]) -> str:
    lines = [
        "| interval | " + " | ".join(result["name"] for result in results) + " |",
        "|---" * (1 + len(results)) + "|",
    ]
    for name in results[0]["intervals"]:
        cells = [
            f"{r['intervals'][name]['coverage']:.1f} % (± {r['intervals'][name]['half_width']:.2f})" for r in results
        ]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--shots", default="1,5", help="What to measure now; all that is done is shown.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shots = [int(word) for word in options.shots.split(",")]
    for cell in (Cell(*shape, shot) for shape in SHAPES for shot in shots):
        measure(options.home, cell, options.replications, options.episodes)
    cells = [Cell(*shape, shot) for shape in SHAPES for shot in SHOTS]
    paths = [options.home / f"coverage-{options.episodes}-{cell.file}.json" for cell in cells]
    print(markdown([json.loads(path.read_text()) for path in paths if path.exists()]))


if __name__ == "__main__":
    main()
