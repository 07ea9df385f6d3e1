"""The open interval of test sets with few classes, before and after noise is left in where it hides the classes.

    python benchmarks/few_classes.py --repetitions 400

prints a Markdown table of `few.md`. Classes are normal clouds in 16 dimensions with spreads of their own, a test set
has 60 items of each, and a score is the accuracy of nearest class means. A second method sees half of the dimensions;
the difference of the two is measured, too. The truth is the mean over 20,000 episodes of classes that are drawn anew
for each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.registry.metric import ACCURACY
from metabench.statistics.class_jackknife import class_level
from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.student_t import t_quantile
from metabench.statistics.summary import open_half_width

DIMENSIONS, ITEMS, QUERY, SPREAD, BETWEEN = 16, 60, 15, 0.1, 0.9
TRUTH_EPISODES, CHUNK = 20_000, 200
Floats = NDArray[np.float64]
Features = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """A test set and its episodes."""

    classes: int
    way: int
    episodes: int
    shot: int = 1

    def __str__(self) -> str:
        return f"{self.classes} classes, {self.way}-way {self.shot}-shot, {self.episodes:,} episodes"


SHAPES = (
    *(Shape(classes, 5, 100) for classes in (6, 7, 8, 12)),
    *(Shape(classes, 5, 600) for classes in (6, 8, 12)),
    Shape(3, 2, 600),
    Shape(21, 20, 600),
    *(Shape(22, 20, episodes) for episodes in (100, 600, 2000)),
    Shape(30, 20, 600),
    Shape(20, 5, 600),
    Shape(6, 5, 600, 5),
)


def draw(random: np.random.Generator, classes: int, items: int) -> Features:
    """Return the items (classes, items, DIMENSIONS) of new classes."""
    means = BETWEEN * random.standard_normal((classes, 1, DIMENSIONS))
    spreads = np.exp(SPREAD * random.standard_normal((classes, 1, 1)))
    return (means + spreads * random.standard_normal((classes, items, DIMENSIONS))).astype(np.float32)


def accuracies(items: Features, shot: int) -> Floats:
    """Return the accuracy in percent (T, 2) of both methods in episodes (T, way, shot + QUERY, DIMENSIONS)."""
    episodes, way = items.shape[:2]
    right = np.repeat(np.arange(way), QUERY)
    result = np.empty((episodes, 2))
    for method, seen in enumerate((DIMENSIONS, DIMENSIONS // 2)):
        means = items[:, :, :shot, :seen].mean(2)
        queries = items[:, :, shot:, :seen].reshape(episodes, way * QUERY, seen)
        distances = (means**2).sum(-1)[:, None, :] - 2 * queries @ means.transpose(0, 2, 1)
        result[:, method] = 100 * (distances.argmin(2) == right).mean(1)
    return result


def truth(random: np.random.Generator, shape: Shape) -> Floats:
    """Return the mean accuracy (2,) on classes that are new in each episode."""
    size, total = (CHUNK, shape.way, shape.shot + QUERY, DIMENSIONS), np.zeros(2)
    for _ in range(TRUTH_EPISODES // CHUNK):
        items = draw(random, CHUNK * shape.way, shape.shot + QUERY).reshape(size)
        total += accuracies(items, shape.shot).mean(0)
    return total / (TRUTH_EPISODES // CHUNK)


def test_sets(random: np.random.Generator, shape: Shape, repetitions: int) -> Iterator[tuple[Floats, Ints]]:
    """Yield the accuracies (T, 2) of episodes of new test sets, and their classes (T, way)."""
    taken = shape.shot + QUERY
    for _ in range(repetitions):
        features = draw(random, shape.classes, ITEMS)
        order = random.random((shape.episodes, shape.classes))
        members = np.argpartition(order, shape.way - 1, axis=1)[:, : shape.way]
        parts = []
        for chosen in np.array_split(members, max(1, shape.episodes // CHUNK)):
            order = random.random((*chosen.shape, ITEMS), dtype=np.float32)
            rows = np.argpartition(order, taken - 1, axis=2)[:, :, :taken]
            parts.append(accuracies(features[chosen[:, :, None], rows], shape.shot))
        yield np.concatenate(parts), members


def before(scores: Floats, used: Ints, totals: Floats, shape: Shape) -> float:
    """Return the half-width with Satterthwaite's degrees of freedom, at least one, whatever they are."""
    c, way, count = shape.classes, shape.way, len(scores)
    e, noise = totals - used * scores.mean(), float(scores.var(ddof=1))
    inflation = c * (c - 1) / (c - way) ** 2
    data = max(0.0, inflation * (float(e @ e) / count**2 - way * (1 - way / c) * noise / count))
    effect = max(0.0, float(e @ e) - float(used.sum()) * noise) / float((used * (used - 1.0)).sum())
    spread = float(((used**2 * effect + used * noise) ** 2 - used * noise**2).sum())
    spread = spread * inflation**2 * c / (c - 1) / count**4 + (noise / count) ** 2 / (count - 1)
    df = max((data + noise / count) ** 2 / spread, min(c / way, count) - 1, 1.0)
    return t_quantile(df, 0.95) * float(np.sqrt(data + noise / count))


def measure(shape: Shape, repetitions: int) -> list[str]:
    """Return the rows of the table for a shape: one method, and the difference of two."""
    random = np.random.default_rng([7, shape.classes, shape.way, shape.episodes, shape.shot])
    mean = truth(random, shape)
    columns = {
        "accuracy": (np.array([1.0, 0.0]), ACCURACY.ends),
        "difference": (np.array([1.0, -1.0]), ACCURACY.difference_ends),
    }
    ends: dict[str, list[tuple[float, float, float, bool]]] = {name: [] for name in columns}
    for both, members in test_sets(random, shape, repetitions):
        used = np.bincount(members.ravel(), minlength=shape.classes)
        for name, (weights, bounds) in columns.items():
            scores = both @ weights
            totals = np.bincount(members.ravel(), np.repeat(scores, shape.way), shape.classes)
            half = open_half_width(EpisodeScores(scores, classes=(used, totals)), bounds)
            level = class_level(scores, used, totals)
            assert half is not None
            assert level is not None
            error = abs(float(scores.mean()) - float(mean @ weights))
            ends[name].append((error, before(scores, used, totals, shape), half, level.df == shape.classes - 1))
    return [f"| {shape} | {name} | {_row(np.array(rows))} |" for name, rows in ends.items()]


def _row(rows: Floats) -> str:
    """Return the half-width that 95 % need, then coverage, mean and largest half-width before and after."""
    error, old, new, noisy = rows.T
    shown = [f"{100 * np.mean(error <= h):.1f} % (± {h.mean():.1f}, at most {h.max():.1f})" for h in (old, new)]
    return " | ".join([f"{np.quantile(error, 0.95):.1f}", *shown, f"{100 * noisy.mean():.0f} %"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    options = parser.parse_args()
    print("| test set | of | needed ± | before | now | noise left in |")
    print("|---|---|--:|--:|--:|--:|")
    for shape in SHAPES:
        print("\n".join(measure(shape, options.repetitions)), flush=True)


if __name__ == "__main__":
    main()
