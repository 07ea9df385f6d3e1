"""MAML of metabench against learn2learn's, task by task, as ratios measured side by side in one run.

As `peers.py`: a process for each library, one at a time, a ratio within each round. learn2learn is measured twice, as
its example runs it (one process with all threads) and sharded (one single-threaded process per core, all at once).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from peers import Worker, environment

CASES = [
    (f"{what}, 5-way {shot}-shot, {'Conv-4, pooling' if pool else 'Conv-4, strided'}", task, shot, pool)
    for what, task in (("evaluation", "maml_evaluation"), ("second-order training", "maml_training"))
    for pool in (False, True)
    for shot in (1, 5)
]
STEPS, META_BATCH = 5, 4
EVALUATED = 5
"""So many times the tasks are evaluated: an evaluation has hundreds, and makes its processes once."""


def arguments(task: str, shot: int, pool: bool, episodes: int) -> dict[str, Any]:
    """Return what a worker is asked."""
    asked = {"shot": shot, "steps": STEPS, "pool": pool}
    if task == "maml_training":
        return {**asked, "episodes": episodes, "batch": META_BATCH}
    return {**asked, "episodes": EVALUATED * episodes}


def sharded(workers: list[Worker], task: str, **asked: Any) -> float:
    """Return the rate of several processes at once."""
    with ThreadPoolExecutor(len(workers)) as pool:
        return sum(pool.map(lambda worker: worker(task, **asked)["rate"], workers))


def run(options: argparse.Namespace, home: Path) -> list[str]:
    """Measure and return the report as Markdown."""
    settings = environment(options, home)
    alone = environment(argparse.Namespace(**{**vars(options), "threads": 1}), home)
    ours, peer = Worker("metabench", settings), Worker("learn2learn", settings)
    shards = [Worker("learn2learn", alone) for _ in range(options.threads)]
    rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name, *_ in CASES}
    started = time.monotonic()
    for number in range(-1, options.rounds):  # the first is a rehearsal
        for name, task, shot, pool in CASES:
            asked = arguments(task, shot, pool, 2 * META_BATCH if number < 0 else options.episodes)
            found = (ours(task, **asked)["rate"], peer(task, **asked)["rate"], sharded(shards, task, **asked))
            if number >= 0:
                rates[name].append(found)
        print(f"round {number + 1} done, {time.monotonic() - started:.0f} s", file=sys.stderr)
        if options.seconds and number >= 0 and time.monotonic() - started > options.seconds:
            break
    for worker in (ours, peer, *shards):
        worker.close()
    version = metadata.version("learn2learn")
    lines = [
        f"| tasks/s, {STEPS} inner steps, 15 queries | metabench | learn2learn {version} | ratio (range) "
        "| the same, sharded | ratio (range) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, found in rates.items():
        mine, theirs, split = zip(*found, strict=True)
        cells = [name, f"{median(mine):.1f}", f"{median(theirs):.1f}", _ratio(mine, theirs)]
        lines.append(f"| {' | '.join([*cells, f'{median(split):.1f}', _ratio(mine, split)])} |")
    return lines


def _ratio(mine: tuple[float, ...], theirs: tuple[float, ...]) -> str:
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return f"{median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    """Parse the command line and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("METABENCH_DATA")
    parser.add_argument("--data", type=Path, default=data, help="folder with the official Omniglot archives")
    parser.add_argument("--home", type=Path, help="where decoded images are kept; default: a temporary folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=24, help="tasks in each measurement of training")
    parser.add_argument("--seconds", type=float, default=0, help="start no round after this long; 0: no limit")
    options = parser.parse_args()
    if options.data is None:
        parser.error("give --data DIR (or METABENCH_DATA)")
    with TemporaryDirectory() as temporary:
        print("\n".join(run(options, options.home or Path(temporary))))


if __name__ == "__main__":
    main()
