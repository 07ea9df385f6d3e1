"""Rates at which an algorithm ties with itself under two seeds of episodes, and an injected point is detected.

    python benchmarks/ties.py --home DIR --repetitions 200

One test set of new glyphs and the model of `coverage.py`; prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from coverage import FixedWay, split_of
from coverage import score as scored
from coverage_pool import CHANNELS, pool

from metabench.episodes.source import EpisodeSource
from metabench.statistics.pairwise_tests import compare_scores

CLASSES, IMAGES, TIER, WAY, QUERY = 200, 20, 2, 5, 15
POINT = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    features = torch.from_numpy(pool(options.home, TIER)[:CLASSES].reshape(-1, CHANNELS))
    split = split_of(CLASSES, IMAGES)
    print("| shot | accuracy | tie with itself, other episodes | 1 point found, other episodes | same episodes |")
    print("|---|---|---|---|---|")
    for shot in (1, 5):
        protocol = FixedWay(WAY, shot, QUERY)
        n_query, ties, unpaired, paired, mean = protocol.n_query, 0, 0, 0, 0.0
        for seed in range(options.repetitions):
            sources = [EpisodeSource(protocol, split, ["ties", shot, 2 * seed + half]) for half in (0, 1)]
            a, b = (scored(features, source, 0, options.episodes)[1] for source in sources)
            mean += 100 * a.mean() / n_query / options.repetitions
            ties += compare_scores(100 * a / n_query, 100 * b / n_query, False).p > 0.05
            # Some of the wrong answers put right, so many that accuracy rises by a point.
            wrong = n_query - a
            better = a + random.binomial(wrong, POINT / 100 * n_query / wrong.mean())
            unpaired += compare_scores(100 * better / n_query, 100 * b / n_query, False).p <= 0.05
            paired += compare_scores(100 * better / n_query, 100 * a / n_query, True).p <= 0.05
        shares = " | ".join(f"{100 * count / options.repetitions:.1f} %" for count in (ties, unpaired, paired))
        print(f"| {shot} | {mean:.2f} % | {shares} |", flush=True)


if __name__ == "__main__":
    main()
