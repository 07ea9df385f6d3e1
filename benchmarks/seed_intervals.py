"""How often the interval over training seeds covers, and how often a method is called different from itself.

    python benchmarks/seed_intervals.py --repetitions 4000

Simulated runs with a known truth, about five minutes on one core; prints two Markdown tables. An episode's score is
normal with a standard deviation of ten points, of which the seeds have `SHARED` of the variance in common (how hard the
episode is) and the rest by themselves; what a training is worth is normal, too. Seeds have equally many episodes, or
stopped early at some 700 / 600 / 700 of one stream.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.means import compare_means, mean_over_cells
from metabench.scores import EpisodeScores
from metabench.streams import Run

EPISODE_SD, SHARED = 10.0, 0.9
SPREADS = (0.0, 0.1, 0.3, 1.0, 3.0)
LENGTHS = {"equal": (700, 700, 700, 700, 700), "stopped early": (700, 600, 700, 600, 700)}
SEEDS = (2, 3, 5)
RANKED, RANKED_SPREAD = 10_000, 0.5
"""Episodes and spread of seeds in the test of a method against itself."""

Floats = NDArray[np.float64]


def runs(random: np.random.Generator, spread: float, lengths: Sequence[int], common: Floats) -> list[Run]:
    """Return one run for each seed of a method with mean 0 on the episodes whose hardness is `common`."""
    own = EPISODE_SD * np.sqrt(1 - SHARED)
    levels = random.normal(0, spread, len(lengths))
    rows = [
        common[:length] + level + own * random.standard_normal(length)
        for length, level in zip(lengths, levels, strict=True)
    ]
    return [Run(EpisodeScores(row, digest=str(len(row))), "stream") for row in rows]


def hardness(random: np.random.Generator, episodes: int) -> Floats:
    """Return what all runs have in common in each episode."""
    return EPISODE_SD * np.sqrt(SHARED) * random.standard_normal(episodes)


def coverage(random: np.random.Generator, spread: float, lengths: Sequence[int], repetitions: int) -> tuple[float, ...]:
    """Return the coverage in percent and the median half-width of the interval for another training."""
    inside, halves = 0, []
    for _ in range(repetitions):
        found = mean_over_cells([runs(random, spread, lengths, hardness(random, max(lengths)))])
        assert found is not None
        assert found.half_width is not None
        inside += abs(found.mean) <= found.half_width
        halves.append(found.half_width)
    return 100 * inside / repetitions, float(np.median(halves))


def size(random: np.random.Generator, spread: float, seeds: int, repetitions: int) -> float:
    """Return how often, in percent, a rank of two rows tells a method from itself with other seeds."""
    rejected = 0
    for _ in range(repetitions):
        common = hardness(random, RANKED)
        methods = [[runs(random, spread, (RANKED,) * seeds, common)] for _ in range(2)]
        rejected += compare_means(methods)[1][0, 1] <= 0.05
    return 100 * rejected / repetitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=4000)
    options = parser.parse_args()
    random = np.random.default_rng(2024)
    print("| seeds | episodes | " + " | ".join(f"spread {spread:g}" for spread in SPREADS) + " |")
    print("|---|---" + "|---" * len(SPREADS) + "|")
    for seeds in SEEDS:
        for name, lengths in LENGTHS.items():
            found = [coverage(random, spread, lengths[:seeds], options.repetitions) for spread in SPREADS]
            cells = " | ".join(f"{share:.1f} (± {half:.2f})" for share, half in found)
            print(f"| {seeds} | {name} | {cells} |", flush=True)
    print("\n| seeds of each | called different |\n|---|---|")
    for seeds in (1, *SEEDS):
        share = size(random, RANKED_SPREAD, seeds, options.repetitions)
        print(f"| {seeds} | {share:.1f} |", flush=True)
    share = size(random, 0.0, 1, options.repetitions)
    print(f"| 1, of trainings that are equally good | {share:.1f} |")


if __name__ == "__main__":
    main()
