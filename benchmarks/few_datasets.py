"""Intervals and tests over few datasets, and the marks of published values, on scores of which the truth is known.

    python benchmarks/few_datasets.py

prints the Markdown tables of `few.md`. Methods are equal, and their scores normal: a dataset is as hard for one as for
the other, and what they differ by is drawn anew on every dataset.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metabench.leaderboard.entries import Column
from metabench.leaderboard.published import Published
from metabench.statistics.dataset_ranking import critical_difference, friedman, iman_davenport
from metabench.statistics.rank_distribution import rank_sums, squares
from metabench.statistics.student_t import t_quantile

DATASETS = (2, 3, 4, 5, 9, 10)
METHODS = (2, 3, 4, 5)
RESAMPLES = 1000
LEVEL = 0.05
Floats = NDArray[np.float64]


def intervals(repetitions: int) -> list[str]:
    """Return the coverage of the interval of a mean difference over datasets, of which the truth is 0."""
    random = np.random.default_rng(0)
    lines = ["| datasets | percentile bootstrap | Student's t |", "|--:|--:|--:|"]
    for datasets in DATASETS:
        d = random.standard_normal((repetitions, datasets))
        half = t_quantile(datasets - 1, 0.95) * d.std(1, ddof=1) / np.sqrt(datasets)
        drawn = random.multinomial(datasets, np.full(datasets, 1 / datasets), RESAMPLES) / datasets
        low, high = np.quantile(d @ drawn.T, [0.025, 0.975], axis=1)
        covered = [np.mean((low <= 0) & (high >= 0)), np.mean(np.abs(d.mean(1)) <= half)]
        lines.append(f"| {datasets} | " + " | ".join(f"{100 * share:.1f}" for share in covered) + " |")
    return lines


def _sizes(scores: Floats) -> tuple[float, float, float, float, float]:
    """Return how often tables (R, N, k) of equal methods are called different: see `sizes` for the columns."""
    _, datasets, methods = scores.shape
    ranks = stats.rankdata(-scores, axis=2)
    sums = np.rint(2 * ranks.sum(1)).astype(np.int64)
    chance = rank_sums(ranks[0])  # without ties, and where arrangements are drawn, the same for all tables
    exact = chance.tail(squares, squares(sums))
    chi2 = np.array([friedman(table)[0] for table in scores])
    f = np.array([iman_davenport(value, datasets, methods) for value in chi2])
    p_chi2 = stats.chi2.sf(chi2, methods - 1)
    p_f = stats.f.sf(f, methods - 1, (methods - 1) * (datasets - 1))
    widths = (sums.max(1) - sums.min(1)) / (2 * datasets)
    nemenyi = widths > critical_difference(methods, datasets)
    both = nemenyi & (chance.tail(lambda s: s.max(1) - s.min(1), sums.max(1) - sums.min(1)) <= LEVEL)
    shares = [np.mean(p <= LEVEL) for p in (p_chi2, p_f, exact)] + [np.mean(nemenyi), np.mean(both)]
    a, b, c, d, e = (100 * float(share) for share in shares)
    return a, b, c, d, e


def sizes(repetitions: int) -> list[str]:
    """Return the share of tables of equal methods that are called different at 5 %."""
    random = np.random.default_rng(1)
    lines = [
        "| methods | datasets | Friedman, chi-squared | Iman-Davenport, F | all arrangements | Nemenyi | Nemenyi, and "
        "all arrangements |",
        "|" + "--:|" * 7,
    ]
    for methods in METHODS:
        for datasets in range(2, 11):
            scores = random.standard_normal((repetitions, datasets, methods))
            shown = " | ".join(f"{share:.1f}" for share in _sizes(scores))
            lines.append(f"| {methods} | {datasets} | {shown} |")
    return lines


def marks(repetitions: int) -> list[str]:
    """Return how often a value that is `distance` standard errors of the difference off the paper's is marked."""
    random = np.random.default_rng(2)
    lines = [
        "| paper's standard error over ours | distance | sum of half-widths | root of their squares |",
        "|--:|--:|--:|--:|",
    ]
    for ratio in (0.2, 1.0, 5.0):
        for distance in (0.0, 2.0, 3.0):
            paper = random.normal(50, ratio, repetitions)
            ours = random.normal(50 + distance * np.hypot(1, ratio), 1, repetitions)
            lines.append(f"| {ratio:g} | {distance:g} | {_marked(paper, ours, 1.96 * ratio, 1.96)} |")
    for ratio in (0.2, 1.0, 5.0):  # the paper prints no interval and rounds the true value to whole points
        true = random.uniform(40, 60, repetitions)
        paper, ours = np.rint(true), random.normal(true, 0.5 / 1.96 / ratio)
        lines.append(f"| rounding alone, {ratio:g} of our half-width | 0 | {_marked(paper, ours, 0.5, 0.5 / ratio)} |")
    return lines


def _marked(papers: Floats, ours: Floats, margin: float, half: float) -> str:
    claims = [Published("a", "b", "d", Column("", 5, 1), value, margin, "", "s", "paper") for value in papers.tolist()]
    marked = [claim.differs_from(value, half) for claim, value in zip(claims, ours.tolist(), strict=True)]
    apart = np.abs(papers - ours) > margin + half
    return f"{100 * np.mean(apart):.1f} % | {100 * np.mean(marked):.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=4000)
    options = parser.parse_args()
    for table in (intervals, sizes, marks):
        print("\n".join(table(options.repetitions)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
