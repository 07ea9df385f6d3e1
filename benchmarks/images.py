"""Preparing, opening and training on mini-ImageNet: beside bare Pillow on the same cores, and where a step's time goes.

``python benchmarks/images.py --data DIR`` with the dataset's official layout in DIR. Within a round each side decodes
the same files, in turn; a ratio is taken within a round. Wall time is what counts on an idle machine; on
a busy one the processor time of the process and its children says more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from metabench.data import DataContext
from metabench.data.image_arrays import FileReader, ImageDecoder, ImageSource, cached_images
from metabench.data.resumable_array import cores
from metabench.episodes.source import EpisodeSource
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Model
from metabench.models.embedding import to_device
from metabench.registry.stage import Stage
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_datasets._mini_imagenet import find_layout
from metabench_datasets.mini_imagenet import PER_CLASS, SUBFOLDERS, MiniImagenet
from metabench_protocols.fixed_way import FixedWay

PORTION = 100  # files that bare Pillow decodes before it says so
WAY, SHOT, QUERY = 5, 1, 15
RECIPE = Stage(way=WAY, shot=SHOT, query=QUERY, episodes=1)


def bare(files: list[Path]) -> int:
    """Decode files with Pillow as a tutorial does, and forget them."""
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB"))
    return len(files)


def by_threads(files: list[Path]) -> None:
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(bare, portions(files)))


def by_processes(files: list[Path]) -> None:
    with ProcessPoolExecutor(cores()) as pool:
        list(pool.map(bare, portions(files)))


def portions(files: list[Path]) -> list[list[Path]]:
    return [files[start : start + PORTION] for start in range(0, len(files), PORTION)]


def ours(files: list[Path], folder: Path, processes: bool) -> None:
    """Decode files into a published memory map, in processes or, as where the reader cannot be sent, in threads."""
    names, here = [str(file) for file in files], FileReader(files)
    read = here if processes else lambda row: here(row)
    source = ImageSource(names, read, "images", "")
    cached_images(folder / "images.npy", ImageDecoder(84), source, DataContext(folder), plan="")


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def prepare(files: list[Path], rounds: int, folder: Path) -> None:
    """Print files per second of every side and what part of bare Pillow's rate ours is."""
    sides: dict[str, Callable[[list[Path]], None]] = {
        "Pillow, threads": by_threads,
        "Pillow, processes": by_processes,
        "metabench, threads": lambda files: ours(files, folder, processes=False),
        "metabench": lambda files: ours(files, folder, processes=True),
    }
    bare(files)  # from now on the files are in the page cache, for all sides
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in [*sides][number % len(sides) :] + [*sides][: number % len(sides)]:
            started, spent = time.perf_counter(), cpu_seconds()
            sides[name](files)
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(cpu_seconds() - spent)
            (folder / "images.npy").unlink(missing_ok=True)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    heads = ("files/s", "processor time per file (µs)", "metabench's part, wall", "metabench's part, processor")
    print(f"\n| {len(files):,} files, {cores()} cores | {' | '.join(heads)} |\n|---|---|---|---|---|")
    for name in sides:
        rate, micro = len(files) / statistics.median(wall[name]), 1e6 * statistics.median(cpu[name]) / len(files)
        parts = [
            [theirs / mine for theirs, mine in zip(times[name], times["metabench"], strict=True)]
            for times in (wall, cpu)
        ]
        told = [f"{100 * statistics.median(p):.0f} % ({100 * min(p):.0f}-{100 * max(p):.0f})" for p in parts]
        print(f"| {name} | {rate:,.0f} | {micro:.0f} | {' | '.join(told)} |")


def opening(context: DataContext) -> None:
    """Print how long a second start takes to have all splits."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for split in ("train", "val", "test"):
            MiniImagenet().load(split, context)
        times.append(1e3 * (time.perf_counter() - started))
    print(f"\nopening all three splits: {statistics.median(times):.1f} ms (at most {max(times):.1f})")


def profile(context: DataContext, steps: int) -> None:
    """Print the processor time of the parts of a training step of Prototypical Networks, Conv-4."""
    split = MiniImagenet().load("train", context)
    learner = FeatureLearner(Model(Conv4((3, 84, 84)), ProtoNet(1600)))
    images = to_device(split.images, torch.device("cpu"))
    source = EpisodeSource(FixedWay(WAY, SHOT, QUERY), split, ["profile"])
    spent = {"drawing the episode": 0.0, "gathering and normalising": 0.0, "whole step": 0.0}
    for step in range(steps + 2):
        begin = time.process_time()
        batch = source.batch(step, step + 1)
        drawn = time.process_time()
        rows = torch.from_numpy(np.concatenate([batch.support, batch.query], axis=1)).flatten()
        learner.embedder.inputs(images[rows])
        gathered = time.process_time()
        learner.backward(images, batch, RECIPE, step)  # gathers once more, as a step does
        done = time.process_time()
        if step >= 2:
            for name, seconds in zip(spent, (drawn - begin, gathered - drawn, done - gathered), strict=True):
                spent[name] += seconds
    whole = spent["whole step"] + spent["drawing the episode"]
    print(f"\ntraining step, {WAY}-way {SHOT}-shot, {QUERY} queries, {torch.get_num_threads()} threads:")
    for name, seconds in spent.items():
        print(f"- {name}: {1e3 * seconds / steps:.2f} ms of processor time ({100 * seconds / whole:.2f} %)")


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mini-ImageNet")
    parser.add_argument("--home", type=Path, required=True, help="what is prepared is kept here")
    parser.add_argument("--files", type=int, default=6_000, help="decoded in one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args()
    mini = MiniImagenet()
    layout = find_layout([given.data], SUBFOLDERS, mini.lists, PER_CLASS)
    if layout is None:
        raise SystemExit(f"no mini-ImageNet in {given.data}")
    files = [file for _, of_class in layout.classes("train") for file in of_class][: given.files]
    given.home.mkdir(parents=True, exist_ok=True)
    prepare(files, given.rounds, given.home)
    context = DataContext(given.home / "data" / "mini-imagenet", (given.data,))
    for split in ("train", "val", "test"):
        mini.load(split, context)
    opening(context)
    profile(context, given.steps)


if __name__ == "__main__":
    main()
