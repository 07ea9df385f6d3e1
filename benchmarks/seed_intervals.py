"""Coverage of the interval over training seeds, and rate at which a method is called different from itself.

    python benchmarks/seed_intervals.py --repetitions 4000

Simulated runs with a known truth, about ten minutes on one core; prints three Markdown tables. An episode's score is
normal with a standard deviation of ten points, of which the seeds have `SHARED` of the variance in common (how hard the
episode is) and the rest by themselves; what a training is worth is normal, too. Seeds have equally many episodes, or
stopped early at some 700 / 600 / 700 of one stream. The last table has two seeds whose own noise is larger.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.means import compare_means, mean_over_cells
from metabench.statistics.shared_episodes import Run

EPISODE_SD, SHARED = 10.0, 0.9
SPREADS = (0.0, 0.1, 0.3, 1.0, 3.0)
LENGTHS = {"equal": (700, 700, 700, 700, 700), "stopped early": (700, 600, 700, 600, 700)}
SEEDS = (2, 3, 5)
RANKED, RANKED_SPREAD = 10_000, 0.5
"""Episodes and spread of seeds in the test of a method against itself."""
PAIRS = {
    "600 / 600": (0.5, (600, 600), 1),
    "600 / 600, own noise 0.9": (0.1, (600, 600), 1),
    "2000 / 300": (0.5, (2000, 300), 1),
    "600 / 600, three cells of the same models": (0.5, (600, 600), 3),
}
"""Two seeds: the share of the variance of episodes that they have in common, their episodes, and the cells."""
PAIR_SPREADS = (0.0, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)

Floats = NDArray[np.float64]


def runs(
    random: np.random.Generator, levels: Floats, lengths: Sequence[int], common: Floats, shared: float = SHARED
) -> list[Run]:
    """Return one run for each seed of a method, worth `levels`, on the episodes whose hardness is `common`."""
    own = EPISODE_SD * np.sqrt(1 - shared)
    rows = [
        common[:length] + level + own * random.standard_normal(length)
        for length, level in zip(lengths, levels, strict=True)
    ]
    return [
        Run(EpisodeScores(row, digest=str(len(row))), "stream", weights=f"{level:.17g}")
        for row, level in zip(rows, levels, strict=True)
    ]


def hardness(random: np.random.Generator, episodes: int, shared: float = SHARED) -> Floats:
    """Return what all runs have in common in each episode."""
    return EPISODE_SD * np.sqrt(shared) * random.standard_normal(episodes)


def coverage(
    random: np.random.Generator,
    spread: float,
    lengths: Sequence[int],
    repetitions: int,
    shared: float = SHARED,
    cells: int = 1,
) -> tuple[float, ...]:
    """Return the coverage in percent and the median half-width of the interval for another training."""
    inside, halves = 0, []
    for _ in range(repetitions):
        commons = [hardness(random, max(lengths), shared) for _ in range(cells)]
        levels = random.normal(0, spread, len(lengths))
        found = mean_over_cells([runs(random, levels, lengths, common, shared) for common in commons])
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
        lengths = (RANKED,) * seeds
        methods = [[runs(random, random.normal(0, spread, seeds), lengths, common)] for _ in range(2)]
        rejected += compare_means(methods)[1][0, 1] <= 0.05
    return 100 * rejected / repetitions


def in_row(found: Sequence[tuple[float, ...]]) -> str:
    """Return coverage and half-width of each setting as cells of a table."""
    return " | ".join(f"{share:.1f} (± {half:.2f})" for share, half in found)


def pairs(repetitions: int) -> None:
    """Print the table of two seeds, in which every row starts from the same random state."""
    print("| two seeds, episodes | " + " | ".join(f"spread {spread:g}" for spread in PAIR_SPREADS) + " |")
    print("|---" + "|---" * len(PAIR_SPREADS) + "|")
    for name, (shared, lengths, cells) in PAIRS.items():
        random = np.random.default_rng(2025)
        found = [coverage(random, spread, lengths, repetitions, shared, cells) for spread in PAIR_SPREADS]
        print(f"| {name} | {in_row(found)} |", flush=True)


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
            print(f"| {seeds} | {name} | {in_row(found)} |", flush=True)
    print("\n| seeds of each | called different |\n|---|---|")
    for seeds in (1, *SEEDS):
        share = size(random, RANKED_SPREAD, seeds, options.repetitions)
        print(f"| {seeds} | {share:.1f} |", flush=True)
    share = size(random, 0.0, 1, options.repetitions)
    print(f"| 1, of trainings that are equally good | {share:.1f} |")
    print()
    pairs(options.repetitions)


if __name__ == "__main__":
    main()
