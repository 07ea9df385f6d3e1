"""Speed and memory of metabench against its peers, as ratios measured side by side in one run.

Every library works in a process of its own, with the same number of threads; only one of them works at a
time, in turn, `--rounds` times. A ratio is taken within a round and the median over rounds is printed, so
that what else the machine does falls on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
INSTALLED_BY = {
    "easyfsl": "pip install --no-deps easyfsl==1.5.0 torchvision; pip install matplotlib tqdm",
    "learn2learn": "see benchmarks/README.md",
}
EPISODES = 10_000


class Worker:
    """A library in its own process."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        script = "ours.py" if name == "metabench" else f"{name}_worker.py"
        command = [sys.executable, "-W", "ignore", str(HERE / script)]
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE
        )
        self._answer()

    def __call__(self, task: str, **arguments: Any) -> dict[str, float]:
        """Run a task of the worker and return its figures."""
        assert self.process.stdin is not None
        print(json.dumps({"task": task, **arguments}), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the {self.name} worker stopped (exit code {self.process.wait()}); its error is above")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


Figures = dict[str, list[dict[str, float]]]
"""Measurements of each round, by ``"worker task arguments"``."""


class Contest:
    """All measurements, round by round."""

    def __init__(self, workers: dict[str, Worker], episodes: int, ours: int = EPISODES) -> None:
        self.workers, self.episodes, self.ours = workers, episodes, ours
        self.figures: Figures = {}

    def measure(self, key: str, name: str, task: str, **arguments: Any) -> None:
        """Add one measurement, if there is such a worker."""
        if name in self.workers:
            self.figures.setdefault(f"{name} {key}", []).append(self.workers[name](task, **arguments))

    def round(self) -> None:
        """Measure everything once, each peer right beside us."""
        started = time.monotonic()
        self.measure("gemm", "metabench", "matrix_product", size=2048)
        for rotations in (True, False):
            key = "rotations" if rotations else "plain"
            few = {"rotations": rotations, "episodes": self.episodes}
            all_of_them = {"rotations": rotations, "episodes": self.ours}
            self.measure(f"eval {key}", "easyfsl", "evaluation", **few)
            self.measure(f"eval {key}", "metabench", "evaluation", **all_of_them)
            self.measure(f"fused {key}", "easyfsl", "evaluation_fused", **few)
            self.measure(f"score {key}", "metabench", "scoring", **all_of_them)
            self.measure(f"score {key}", "easyfsl", "scoring", rotations=rotations, episodes=5 * self.episodes)
        for shot in (1, 5):
            for name in ("easyfsl", "metabench", "learn2learn"):
                self.measure(f"train {shot}", name, "training", shot=shot, episodes=max(2, self.episodes // 2))
        print(f"a round took {time.monotonic() - started:.0f} s", file=sys.stderr)

    def value(self, key: str, field: str = "rate") -> float:
        """Return the median over the rounds."""
        return median(entry[field] for entry in self.figures[key])

    def ratios(self, ours: str, theirs: str) -> list[float]:
        """Return rate over rate, within each round."""
        pairs = zip(self.figures[ours], self.figures[theirs], strict=True)
        return [a["rate"] / b["rate"] for a, b in pairs]


ROWS = (
    ("10,000 episodes end to end, 33,840 images", "eval rotations", "easyfsl", "eval rotations", 120.0),
    ("the same, easyfsl given our fused Conv-4", "eval rotations", "easyfsl", "fused rotations", None),
    ("10,000 episodes end to end, 8,460 images", "eval plain", "easyfsl", "eval plain", 400.0),
    ("the same, easyfsl given our fused Conv-4", "eval plain", "easyfsl", "fused plain", None),
    ("features known, 33,840 images", "score rotations", "easyfsl", "score rotations", 40.0),
    ("features known, 8,460 images", "score plain", "easyfsl", "score plain", 40.0),
    ("training, 5-way 1-shot", "train 1", "easyfsl", "train 1", 1.5),
    ("training, 5-way 5-shot", "train 5", "easyfsl", "train 5", 1.5),
    ("training, 5-way 1-shot", "train 1", "learn2learn", "train 1", 2.5),
    ("training, 5-way 5-shot", "train 5", "learn2learn", "train 5", 2.5),
)
"""Task, our key, peer, its key, the ratio aimed at (None: for information)."""


def table(contest: Contest) -> list[str]:
    """Return the ratios as Markdown."""
    lines = [
        "| measured (episodes/s) | peer | peer's rate | metabench's rate | ratio (range over rounds) | aim |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for what, our_key, peer, peer_key, aim in ROWS:
        ours, theirs = f"metabench {our_key}", f"{peer} {peer_key}"
        if theirs not in contest.figures:
            continue
        ratios = contest.ratios(ours, theirs)
        cells = [what, f"{peer} {metadata.version(peer)}", f"{contest.value(theirs):,.1f}"]
        cells += [f"{contest.value(ours):,.1f}", f"{median(ratios):,.3g}x ({min(ratios):,.3g}-{max(ratios):,.3g})"]
        lines.append(f"| {' | '.join(cells)} | {f'{aim:g}x' if aim else ''} |")
    return lines


def notes(contest: Contest, memory: dict[bool, float]) -> list[str]:
    """Return where our time goes, the memory, and the check that everyone did the same work."""
    gemm = contest.value("metabench gemm", "gflops")
    lines = [f"- Matrix product 2048 x 2048, float32: {gemm:.0f} GFLOP/s."]
    for key, rotations in (("rotations", True), ("plain", False)):
        ours = f"metabench eval {key}"
        seconds, embedding = contest.value(ours, "seconds"), contest.value(ours, "embedding")
        achieved = contest.value(ours, "gflops")
        lines.append(
            f"- End to end, {key}: {seconds:.2f} s, of which embedding {embedding:.2f} s "
            f"({100 * embedding / seconds:.0f} %) at {achieved:.0f} GFLOP/s, {achieved / gemm:.2f} of the matrix "
            f"product; peak memory {memory[rotations]:.0f} MB above that after the imports."
        )
        accuracies = [f"metabench {contest.value(ours, 'accuracy'):.1f} %"]
        for peer_key in (f"easyfsl eval {key}", f"easyfsl score {key}"):
            if peer_key in contest.figures:
                accuracies.append(f"{peer_key} {contest.value(peer_key, 'accuracy'):.1f} %")
        lines.append(f"- Accuracy with these weights, {key}: {', '.join(accuracies)}.")
    return lines


def installed() -> list[str]:
    """Return the contestants, with one line on stderr for each that is missing."""
    names = ["metabench"]
    for peer, how in INSTALLED_BY.items():
        try:
            metadata.version(peer)
            names.append(peer)
        except metadata.PackageNotFoundError:
            print(f"{peer} is not installed and is left out; {how}", file=sys.stderr)
    return names


def environment(options: argparse.Namespace, home: Path) -> dict[str, str]:
    """Return the environment of the workers."""
    setting = {"data": str(options.data.resolve()), "home": str(home.resolve()), "threads": options.threads}
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **threads, "METABENCH_BENCHMARK": json.dumps(setting)}


def run(options: argparse.Namespace, home: Path) -> list[str]:
    """Measure and return the report."""
    settings = environment(options, home)

    def once(work: Callable[[Worker], float]) -> float:
        worker = Worker("metabench", settings)
        try:
            return work(worker)
        finally:
            worker.close()

    once(lambda worker: worker("matrix_product", size=256)["gflops"])  # decodes nothing; fails early
    workers = {name: Worker(name, settings) for name in installed()}
    try:
        # A rehearsal: datasets are decoded and indexed, and code is warm, before the clock starts.
        rehearsal = Contest(workers, 2, ours=100)
        rehearsal.round()
        print("warm", file=sys.stderr)
        contest, started = Contest(workers, options.episodes), time.monotonic()
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            contest.round()
            print("\n".join(table(contest)), file=sys.stderr)
            if options.seconds and time.monotonic() - started > options.seconds:
                break
    finally:
        for worker in workers.values():
            worker.close()
    print("memory", file=sys.stderr)
    memory = {
        rotations: once(lambda worker, r=rotations: worker("memory", rotations=r, episodes=EPISODES)["megabytes"])
        for rotations in (True, False)
    }
    return [*table(contest), "", *notes(contest, memory)]


def main() -> None:
    """Parse the command line and print the report."""
    data = os.environ.get("METABENCH_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, help="folder with the official Omniglot archives")
    parser.add_argument("--home", type=Path, help="where decoded images are kept; default: a temporary folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=40, help="episodes of a peer's evaluation in one round")
    parser.add_argument("--seconds", type=float, default=0, help="start no round after this long; 0: no limit")
    options = parser.parse_args()
    if options.data is None and options.home is None:
        parser.error("give --data DIR (or METABENCH_DATA) with images_background.zip and images_evaluation.zip")
    options.data = Path(options.data or options.home)
    with TemporaryDirectory() as temporary:
        print("\n".join(run(options, options.home or Path(temporary))))


if __name__ == "__main__":
    main()
