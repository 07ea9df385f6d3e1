"""Logistic regression for a batch of episodes against a loop over scikit-learn: `python benchmarks/linear_probe.py`.

Both fit the same made-up features to the same objective on one thread and score the queries; metabench in chunks of the
size that an evaluation uses. The time is the processor's. scikit-learn must be installed; it is no dependency.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from metabench.api import Episode
from metabench_algorithms.transfer.linear_probe import LinearProbe

CASES = ((5, 1, 64), (5, 5, 640), (5, 1, 1280), (5, 5, 1280), (20, 1, 1280), (20, 5, 1280))
QUERY, ROUNDS, LOOPED = 15, 5, 10


def features(way: int, shot: int, dim: int, batch: int) -> tuple[torch.Tensor, ...]:
    """Rectified Gaussian classes of unit length: support (B, S, D), labels, queries (B, Q, D)."""
    generator = torch.Generator().manual_seed(dim)
    centres = 0.5 * torch.randn(batch, way, dim, generator=generator)
    parts = [
        F.normalize((each + torch.randn(each.shape, generator=generator)).relu(), dim=-1)
        for each in (centres.repeat_interleave(shot, 1), centres.repeat_interleave(QUERY, 1))
    ]
    return parts[0], torch.arange(way).repeat_interleave(shot).expand(batch, -1), parts[1]


def seconds(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    print(
        "| way | shot | features | metabench (ms) | scikit-learn (ms) | ratio, range | largest difference of scores |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for way, shot, dim in CASES:
        batch = max(LOOPED, (1 << 20) // (dim * way * (shot + QUERY)))
        support, labels, query = features(way, shot, dim, batch)
        head, episode = LinearProbe(dim), Episode(support, labels, query, way)

        def ours(head: LinearProbe = head, case: Episode = episode) -> None:
            with torch.inference_mode():
                head.logits(case)

        def theirs(case: Any = (support, labels, query)) -> list[Any]:
            models = [LogisticRegression(max_iter=1000) for _ in range(LOOPED)]
            support, labels, query = (part.numpy() for part in case)
            return [m.fit(support[i], labels[i]).decision_function(query[i]) for i, m in enumerate(models)]

        ours()
        pairs = [(seconds(ours) / batch, seconds(theirs) / LOOPED) for _ in range(ROUNDS)]
        ratios = sorted(b / a for a, b in pairs)
        scores = head.logits(episode)[:LOOPED]
        peers = torch.stack([torch.from_numpy(found).float() for found in theirs()])
        apart = (scores - scores.mean(-1, keepdim=True)) - (peers - peers.mean(-1, keepdim=True))
        mine, peer = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f}-{ratios[-1]:.1f})"
        print(f"| {way} | {shot} | {dim} | {mine:.2f} | {peer:.2f} | {ratio} | {float(apart.abs().max()):.0e} |")


if __name__ == "__main__":
    main()
