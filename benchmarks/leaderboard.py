"""Time that a leaderboard takes: 2,000 records to pages, and a page of 500 rows to a browser.

    python benchmarks/leaderboard.py [--keep DIR]

Records are made up, of 2,000 episodes each, as a real one is: correlated over episodes, with sums by class. Two
shapes: 500 rows in four columns (`wide`), and 2,000 rows in one column (`deep`, 1,999,000 comparisons).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from metabench.leaderboard import Leaderboard
from metabench.leaderboard.entries import file_name
from metabench.records.record import Record, build_record, write_record
from tests.browser import browser, missing

EPISODES, CLASSES, REPEATS = 2_000, 100, 5


def record(name: str, rate: float, way: int, shot: int, difficulty: np.ndarray, seed: int) -> Record:
    """Make up a record of `way`-way `shot`-shot episodes with 15 queries of each class."""
    rng = np.random.default_rng(seed)
    queries = 15 * way
    chances = 1 / (1 + np.exp(-(rate + difficulty + rng.normal(0, 0.2, EPISODES))))
    correct = rng.binomial(queries, chances)
    episodes = np.full(CLASSES, EPISODES * way // CLASSES)
    sums = np.full(CLASSES, int(correct.sum()) * way // CLASSES)
    sums[: int(correct.sum()) * way - int(sums.sum())] += 1
    inputs = {
        "algorithm": {"name": name, "version": 1, "params": {"metric": "cosine"}, "setting": "inductive"},
        "backbone": {"name": "conv4", "version": 1, "params": {"channels": 64}, "trained_on": ""},
        "dataset": {"name": "made-up", "version": 1, "params": {}, "split": "test", "digest": "ab" * 32},
        "protocol": {"name": "fixed-way", "version": 1, "params": {"way": way, "shot": shot, "query": 15}},
        "evaluation": {"episodes": EPISODES, "seed": 0, "sampling": "closed", "stop": None},
        "training": {"way": 60, "shot": shot, "query": 5, "episodes": 10_000, "lr": 0.001, "seed": 0},
        "precision": "float32",
    }
    return build_record(
        inputs,
        "ok",
        scores={
            "n_query": queries,
            "correct": correct.tolist(),
            "episodes_digest": f"{way:032d}{shot:032d}",
            "classes": {"episodes": episodes.tolist(), "correct": sums.tolist()},
        },
        cost={"episodes_per_second": float(rng.uniform(100, 30_000))},
        provenance={"metabench": "0", "device": "cpu"},
    )


def fill(folder: Path, rows: int, cells: list[tuple[int, int]]) -> None:
    """Write `rows` records for each (way, shot)."""
    rng = np.random.default_rng(0)
    rates = rng.normal(1.5, 0.5, rows)
    for number, (way, shot) in enumerate(cells):
        difficulty = np.random.default_rng(number).normal(0.2 * shot, 0.5, EPISODES)
        for row, rate in enumerate(rates):
            made = record(f"algorithm-{row:04d}", float(rate), way, shot, difficulty, 10_000 * number + row)
            write_record(folder / "records" / file_name(made), made)


def build_seconds(folder: Path) -> list[tuple[float, float]]:
    """Build anew, `REPEATS` times; return seconds passed and seconds of processor time."""
    found = []
    for _ in range(REPEATS):
        for path in [*folder.glob("*.md"), *folder.glob("*.csv"), *folder.glob("*.html")]:
            path.unlink()
        started = time.perf_counter(), time.process_time()
        Leaderboard(folder).build()
        found.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return found


def page_seconds(page: Path) -> list[tuple[float, float]]:
    """Load the page, `REPEATS` times, as the browser measures it.

    Returns seconds from the start of navigation to the end of the load event, and seconds of processor time of
    the thread that parses, lays out and runs the page.
    """
    script = "const n = performance.getEntriesByType('navigation')[0]; return n.loadEventEnd - n.startTime"
    found = []
    with browser() as chromium:
        chromium.set_screen(1280, 800)
        chromium.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        for _ in range(REPEATS + 1):  # the first one warms the browser up
            chromium.get("about:blank")
            chromium.get(page.as_uri())
            metrics = chromium.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
            used = next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")
            found.append((chromium.execute_script(script) / 1000, used))
    return found[1:]


def measure(name: str, folder: Path, rows: int, cells: list[tuple[int, int]]) -> None:
    """Print the times of one shape."""
    fill(folder, rows, cells)
    passed, used = zip(*build_seconds(folder), strict=True)
    size = (folder / "index.html").stat().st_size
    print(f"{name}: {rows * len(cells):,} records, {rows:,} rows, {len(cells)} columns")
    print(f"  build: {_median(passed)}, of which processor time {_median(used)}")
    print(f"  index.html: {size / 1e6:.2f} MB")
    if reason := missing():
        print(f"  load: not measured ({reason})")
        return
    passed, used = zip(*page_seconds(folder / "index.html"), strict=True)
    print(f"  load: {_median(passed)}, of which processor time {_median(used)}")


def _median(times: Sequence[float]) -> str:
    return f"median {statistics.median(times):.2f} s of {len(times)} ({min(times):.2f} to {max(times):.2f})"


def main() -> None:
    """Measure both shapes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="write the made-up leaderboards here and leave them")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as name:
        root = keep or Path(name)
        measure("wide", root / "wide", 500, [(5, 1), (5, 5), (20, 1), (20, 5)])
        measure("deep", root / "deep", 2_000, [(5, 1)])


if __name__ == "__main__":
    main()
